"""The shared settings as flags, before or after the verb, and `-o`, declared once for all verbs.

`take_settings` picks every setting's flag out of the command line, wherever it stands, before
Typer reads the rest: building twenty more parameters for each verb would cost more time than
checking a file. Typer itself, which costs as much again, is left to typer_program.py.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobreconciler.errors import Refused

REPOSITORY = ("repo", "ref", "jobs_dir")
STATE = ("state_dir", "store")
DAEMON = ("server", "token", "token_file", "state_dir")

FLAGS: Mapping[str, tuple[str, str]] = {
    "config": ("FILE", "Settings file; jobreconciler.toml where there is one."),
    "repo": ("PATH|URL", "Git repository with the job files."),
    "ref": ("REF", "Branch or tag; the repository's HEAD branch by default."),
    "jobs_dir": ("DIR", "Directory of job files in the repository (jobs.d)."),
    "state_dir": ("DIR", "Store, mirror, run spool and token (.jobreconciler)."),
    "store": ("URL", "Database; SQLite in the state directory by default."),
    "server": ("URL", "Where the daemon answers (http://127.0.0.1:8484)."),
    "listen": ("HOST:PORT", "Where the daemon listens (127.0.0.1:8484)."),
    "max_running": ("N", "Executions at once (two for every core)."),
    "log_format": ("auto|json|console", "How logs are written."),
    "environment": ("NAME", "Take only jobs of this environment, or of none."),
    "atomic": ("", "Refuse a whole commit when one of its files is invalid."),
    "require_fast_forward": ("", "Refuse rewritten history."),
    "working_tree": ("", "Read uncommitted files: local development only."),
    "poll_interval": ("DURATION", "How often to look at the repository (30s)."),
    "instance": ("NAME", "This daemon's name in records (the host's name)."),
    "drain": ("", "On SIGTERM wait for running jobs."),
    "allow_http_networks": ("NETWORKS", "Private networks that http jobs may reach (none)."),
    "secrets_dir": ("DIR", "Where {file: name} secrets lie (STATE_DIR/secrets)."),
    "smtp_url": ("URL", "Mail server for notifications; JOBRECONCILER_SMTP_URL is safer."),
    "keep_executions": ("DURATION", "How long ended executions are kept (30d)."),
    "keep_executions_per_job": ("N", "How many of each job's last are kept in any case (20)."),
    "keep_output": ("DURATION", "How long output of runs is kept (7d)."),
    "keep_output_gib": ("GIB", "How much output is kept in all (10)."),
    "token": ("TOKEN", "Access token; JOBRECONCILER_TOKEN is safer."),
    "token_file": ("FILE", "File that holds the access token."),
}
"""Each setting's metavar, empty for a switch, and what it is."""


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def take_settings(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings given as flags, the last one of each, and what is left of the command line.

    Nothing is taken after `--`. Raises Refused for a flag without its value.
    """
    known = {flag(name): name for name in FLAGS}
    off = {f"--no-{flag(name)[2:]}": name for name in FLAGS if not FLAGS[name][0]}
    taken: dict[str, Any] = {}
    rest: list[str] = []
    coming = iter(arguments)
    for argument in coming:
        word, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *coming]
        elif word in off and not equals:
            taken[off[word]] = False
        elif word not in known:
            rest.append(argument)
        elif not FLAGS[known[word]][0]:
            if equals:
                raise Refused(f"{word} is a switch and takes no value")
            taken[known[word]] = True
        else:
            taken[known[word]] = value if equals else _value(word, next(coming, None))
    return taken, rest


def _value(word: str, value: str | None) -> str:
    if value is None or value.startswith("--"):
        metavar = FLAGS[word[2:].replace("-", "_")][0]
        raise Refused(f"{word} needs a value", hint=f"such as {word} {metavar}")
    return value


@dataclass(frozen=True, slots=True)
class Verb:
    """A command as it was declared: what it calls, the settings it reads, the forms it answers in.

    `words` names the parameter that takes every word of the command line, as paths, where there is
    one. A verb that `leaves_nothing` to put away may end its process at once.
    """

    command: Callable[..., int]
    shown: tuple[str, ...]
    output: tuple[str, ...]
    words: str | None
    leaves_nothing: bool

    def call(self, flags: Mapping[str, Any], form: str | None, arguments: dict[str, Any]) -> int:
        """Runs it; `flags` are the settings that were given on the command line."""
        if self.output:
            arguments["output"] = self._checked(form)
        # Imported here: the index of verbs is printed without pydantic.
        from jobreconciler.settings import load_settings

        settings = load_settings(flags, needs=self.shown)
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        return self.command(settings, **arguments)

    def call_plainly(self, flags: Mapping[str, Any], line: Sequence[str]) -> int | None:
        """As `call`, where the line is nothing but words and one `-o FORM`; None where it is more,
        or not right, or could be, which Typer is to read or to explain."""
        if self._own() - {self.words}:
            return None
        words: list[str] = []
        form: str | None = None
        coming = iter(line)
        for argument in coming:
            if argument in {"-o", "--output"} and form is None:
                form = next(coming, None)
                if form is None:
                    return None
            elif argument.startswith("-"):
                return None
            else:
                words.append(argument)
        if self.words is not None:
            return self.call(flags, form, {self.words: [Path(word) for word in words]})
        if words or (form is not None and not self.output):
            return None
        return self.call(flags, form, {})

    def _own(self) -> set[str]:
        """The command's own parameters."""
        code = self.command.__code__
        return {*code.co_varnames[: code.co_argcount]} - {"settings", "output"}

    def _checked(self, form: str | None) -> str:
        if form is None:
            return self.output[0]
        if form not in self.output:
            raise Refused(f"-o {form}: this command answers in {', '.join(self.output)}")
        return form


def verb(
    *shown: str,
    output: tuple[str, ...] = ("text", "json"),
    words: str | None = None,
    leaves_nothing: bool = False,
) -> Callable[[Callable[..., int]], Verb]:
    """Declare a command that reads the settings `shown` and can answer in the forms `output`:
    `command(settings, output, …)`. See Verb for `words` and `leaves_nothing`."""
    return lambda command: Verb(command, shown, output, words, leaves_nothing)
