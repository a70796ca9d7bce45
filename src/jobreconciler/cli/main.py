"""The command line's entry: the index of verbs, and nothing a verb needs.

A verb's module is imported when that verb is called. The index below is declared, not collected,
so that `jobreconciler --help` imports none of them.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from jobreconciler import __version__
from jobreconciler.cli.errors import FINE, report
from jobreconciler.cli.options import FLAGS, describe, setting_parameters, take_settings
from jobreconciler.errors import Refused

PROGRAM = "jobreconciler"

INDEX: dict[str, dict[str, str]] = {
    "Job files (no daemon needed)": {
        "new": "Scaffold a job file.",
        "fmt": "Put the keys of job files in canonical order, comments kept.",
        "import": "Turn crontabs, CronJobs and systemd timers into job files.",
        "validate": "Check job files; every error with its place.",
        "plan": "Show what a commit would change, and what that does to schedules.",
        "next": "Show coming slots, with daylight-saving notes.",
        "schema": "Write the JSON Schemas of job files, or check them.",
        "job-types": "List the registered job types and their parameters.",
    },
    "Running": {
        "run": "Run the daemon.",
        "apply": "Reconcile once and exit.",
        "reconcile": "Have the daemon look at the repository now.",
        "approve-prune": "Let a commit delete the jobs it was kept from deleting.",
        "trigger": "Start a job now.",
        "suspend": "Start nothing of a job, a tag or an owner for a while.",
        "resume": "Lift a suspension.",
        "pause": "Start nothing in the whole fleet for a while.",
        "unpause": "Let the fleet go on; confirm a clock that was set.",
        "backfill": "Run slots of the past that never ran.",
        "cancel": "Stop an execution, or drop it from the line.",
        "retry": "Run again what an execution was for.",
    },
    "Looking": {
        "status": "Show what needs attention, what runs and what is applied.",
        "jobs": "List jobs.",
        "history": "List a job's executions.",
        "logs": "Print what an execution wrote.",
        "changes": "List applied changes: what, who, when, which commit.",
    },
    "Upkeep": {
        "doctor": "Check git, store, clock, access and port, and say how to mend them.",
        "gc": "Forget old executions and output now.",
        "backup": "Copy the store to a file.",
        "restore": "Put a backup in the store's place.",
        "migrate": "Bring the store's tables to this program's version.",
        "token": "Create, list and revoke access tokens.",
        "signals": "Make, fill and look at the database of the signal jobs.",
    },
}
HELP = frozenset({"-h", "--help"})
VERBS = {name: said for section in INDEX.values() for name, said in section.items()}

ABOUT = """GitOps for scheduled jobs: declared in git, validated, applied, run and observed.

Settings may stand before or after the verb; each can also be a JOBRECONCILER_* variable or a key
of jobreconciler.toml. Exit codes: 0 fine, 1 the answer is no, 2 wrong usage or no access.

\b
Example:
  jobreconciler new command nightly-report && jobreconciler validate
"""


class Verbs(TyperGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        return _load(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise _unknown(args[0])
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The verbs first: the settings below them are many and the same for all."""
        self.format_commands(ctx, formatter)
        records = [record for each in self.get_params(ctx) if (record := each.get_help_record(ctx))]
        with formatter.section("Settings"):
            formatter.write_dl(records, col_max=24)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for title, verbs in INDEX.items():
            with formatter.section(title):
                formatter.write_dl(list(verbs.items()), col_max=16)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `sys.exit` gets it from the entry point."""
    # What a file means must not depend on which pydantic plugins happen to be installed; looking
    # for them also takes as long as validating a file.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Importing makes many objects and no garbage; `options.verb` turns collection on again.
    gc.disable()
    try:
        settings, rest = take_settings(sys.argv[1:] if argv is None else argv)
        result = _run(rest, settings)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else FINE
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
    finally:
        gc.enable()
    return result if isinstance(result, int) else FINE


def _run(arguments: Sequence[str], settings: dict[str, Any]) -> Any:
    """A verb that comes first is called without the group of all: each parameter that Typer knows
    of costs it milliseconds. So do the settings, which were taken out already: help shows them."""
    verb, *rest = arguments or [""]
    if verb not in VERBS:
        program = _program(with_settings=not any(word in VERBS for word in arguments))
        return program.main(
            args=list(arguments), prog_name=PROGRAM, standalone_mode=False, obj=settings
        )
    command = _load(verb)
    if not HELP.intersection(rest):
        command.params = [each for each in command.params if each.name not in FLAGS]
    name = f"{PROGRAM} {verb}"
    return command.main(args=rest, prog_name=name, standalone_mode=False, obj=settings)


def _program(*, with_settings: bool) -> Any:
    """The group of all verbs. The settings are declared for its help alone."""

    def root(
        ctx: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
        **_: Any,
    ) -> None:
        if version:
            typer.echo(f"{PROGRAM} {__version__}")
            raise typer.Exit
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    own = list(inspect.signature(root, eval_str=True).parameters.values())[:2]
    describe(root, root, [*own, *setting_parameters(FLAGS if with_settings else ())])
    app = _typer(cls=Verbs, help=ABOUT)
    app.callback(invoke_without_command=True)(root)
    return get_command(app)


def _typer(**arguments: Any) -> typer.Typer:
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": sorted(HELP, key=len), "max_content_width": 100},
        **arguments,
    )


def _load(name: str) -> Any:
    module = import_module(f"jobreconciler.cli.commands.{name.replace('-', '_')}")
    if hasattr(module, "VERBS"):
        app = _typer(help=module.HELP)
        app.callback()(lambda: None)
        for action, function in module.VERBS.items():
            app.command(action)(function)
    else:
        app = _typer()
        app.command(name)(module.command)
    command = get_command(app)
    command.name = name
    return command


def _unknown(name: str) -> Refused:
    close = get_close_matches(name, VERBS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"`{PROGRAM} --help` lists all"
    return Refused(f"there is no command {name!r}", hint=hint)


if __name__ == "__main__":
    sys.exit(main())
