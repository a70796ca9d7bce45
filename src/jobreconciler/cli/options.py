"""The shared settings as flags, before or after the verb, and `-o`, declared once for all verbs.

`verb` turns `command(settings, output, …)` into what Typer calls: it adds a flag for every setting
(those that matter to the verb are shown in its help, the others are accepted quietly), merges what
stood before the verb, and hands the command one frozen `Settings`.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobreconciler.errors import Refused

REPOSITORY = ("repo", "ref", "jobs_dir")
STATE = ("state_dir", "store")
DAEMON = ("server", "token", "token_file", "state_dir")

_Help = tuple[Any, str, str]
FLAGS: dict[str, _Help] = {
    "config": (Path, "FILE", "Settings file; jobreconciler.toml where there is one."),
    "repo": (str, "PATH|URL", "Git repository with the job files."),
    "ref": (str, "REF", "Branch or tag; the repository's HEAD branch by default."),
    "jobs_dir": (str, "DIR", "Directory of job files in the repository (jobs.d)."),
    "state_dir": (Path, "DIR", "Store, mirror, run spool and token (.jobreconciler)."),
    "store": (str, "URL", "Database; SQLite in the state directory by default."),
    "server": (str, "URL", "Where the daemon answers (http://127.0.0.1:8484)."),
    "listen": (str, "HOST:PORT", "Where the daemon listens (127.0.0.1:8484)."),
    "max_running": (int, "N", "Executions at once (two for every core)."),
    "log_format": (str, "auto|json|console", "How the daemon logs."),
    "environment": (str, "NAME", "Take only jobs of this environment, or of none."),
    "atomic": (bool, "", "Refuse a whole commit when one of its files is invalid."),
    "require_fast_forward": (bool, "", "Refuse rewritten history."),
    "working_tree": (bool, "", "Read uncommitted files: local development only."),
    "poll_interval": (str, "DURATION", "How often to look at the repository (30s)."),
    "instance": (str, "NAME", "This daemon's name in records (the host's name)."),
    "drain": (bool, "", "On SIGTERM wait for running jobs."),
    "secrets_dir": (Path, "DIR", "Where {file: name} secrets lie."),
    "token": (str, "TOKEN", "Access token; JOBRECONCILER_TOKEN is safer."),
    "token_file": (Path, "FILE", "File that holds the access token."),
}


def verb(
    *shown: str, output: tuple[str, ...] = ("text", "json")
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Declare a command that reads the settings `shown` and can answer in the forms `output`."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def run(ctx: typer.Context, **arguments: Any) -> int:
            flags = {**(ctx.obj or {}), **_given(arguments)}
            form = arguments.pop("output", None)
            if output:
                arguments["output"] = _checked(form, output)
            # Imported here: the index of verbs is printed without pydantic.
            from jobreconciler.settings import load_settings

            settings = load_settings(flags, needs=shown)
            gc.enable()
            return command(settings, **{k: v for k, v in arguments.items() if k not in FLAGS})

        parameters = [_context(), *_own(command), *([_output(output)] if output else [])]
        _describe(run, command, [*parameters, *setting_parameters(shown)])
        return run

    return decorate


def setting_parameters(shown: Collection[str]) -> list[inspect.Parameter]:
    """One keyword-only flag for each setting; those not in `shown` don't clutter the help."""
    return [_setting(name, *FLAGS[name], hidden=name not in shown) for name in FLAGS]


def keep_flags(ctx: typer.Context, arguments: Mapping[str, Any]) -> None:
    """Remember the settings that stood before the verb."""
    ctx.obj = {name: value for name, value in arguments.items() if value is not None}


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in FLAGS if arguments.get(name) is not None}


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


def _setting(name: str, kind: Any, metavar: str, said: str, *, hidden: bool) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    if kind is bool:
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=said, hidden=hidden)
    else:
        option = typer.Option(flag, metavar=metavar, help=said, hidden=hidden)
    return _keyword(name, Annotated[kind | None, option])


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _describe(
    run: Callable[..., int], command: Callable[..., int], parameters: list[inspect.Parameter]
) -> None:
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
