"""The shared settings as flags, before or after the verb, and `-o`, declared once for all verbs.

`take_settings` picks every setting's flag out of the command line, wherever it stands, before
Typer reads the rest: building twenty more parameters for each verb would cost more time than
checking a file. What `verb` declares of them is for the verb's help.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import typer

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
    "log_format": ("auto|json|console", "How the daemon logs."),
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


def verb(
    *shown: str, output: tuple[str, ...] = ("text", "json")
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Declare a command that reads the settings `shown` and can answer in the forms `output`.

    Makes `command(settings, output, …)` into what Typer calls.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def run(ctx: typer.Context, **arguments: Any) -> int:
            form = arguments.pop("output", None)
            if output:
                arguments["output"] = _checked(form, output)
            # Imported here: the index of verbs is printed without pydantic.
            from jobreconciler.settings import load_settings

            settings = load_settings(ctx.obj, needs=shown)
            gc.enable()
            return command(settings, **{k: v for k, v in arguments.items() if k not in FLAGS})

        parameters = [_context(), *_own(command), *([_output(output)] if output else [])]
        describe(run, command, [*parameters, *setting_parameters(shown)])
        return run

    return decorate


def setting_parameters(shown: Collection[str]) -> list[inspect.Parameter]:
    """The settings as they appear in a help text."""
    return [_setting(name, *FLAGS[name]) for name in FLAGS if name in shown]


def describe(
    run: Callable[..., Any], command: Callable[..., Any], parameters: list[inspect.Parameter]
) -> None:
    """Give `run` the name, the documentation and the parameters that Typer is to see."""
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}


def _checked(form: str | None, forms: tuple[str, ...]) -> str:
    if form is None:
        return forms[0]
    if form not in forms:
        raise Refused(f"-o {form}: this command answers in {', '.join(forms)}")
    return form


def _own(command: Callable[..., int]) -> list[inspect.Parameter]:
    """The command's own arguments and options: all but `settings` and `output`."""
    signature = inspect.signature(command, eval_str=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in {"settings", "output"}
    ]


def _context() -> inspect.Parameter:
    return inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )


def _output(forms: tuple[str, ...]) -> inspect.Parameter:
    option = typer.Option(
        "--output", "-o", metavar="|".join(forms), help="How to answer.", show_default=False
    )
    return _keyword("output", Annotated[str | None, option])


def _setting(name: str, metavar: str, said: str) -> inspect.Parameter:
    if not metavar:
        return _keyword(name, Annotated[bool | None, typer.Option(flag(name), help=said)])
    return _keyword(
        name, Annotated[str | None, typer.Option(flag(name), metavar=metavar, help=said)]
    )


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
