"""The command line as Typer sees it: the group of all verbs, each verb's parameters and help.

Imported for every command line but the plainest (see options.Verb.call_plainly): Typer's import and
what it makes of each parameter cost more time than checking a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from jobreconciler import __version__
from jobreconciler.cli.errors import Interrupted, PipeClosed
from jobreconciler.cli.index import INDEX, PROGRAM, VERBS, verb_module
from jobreconciler.cli.options import FLAGS, Verb, flag
from jobreconciler.errors import Refused

HELP = frozenset({"-h", "--help"})

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


def run(arguments: Sequence[str], settings: dict[str, Any]) -> Any:
    """A verb that comes first is called without the group of all: each parameter that Typer knows
    of costs it milliseconds. So do the settings, which were taken out already: help shows them."""
    verb, *rest = arguments or [""]
    if verb not in VERBS:
        program = _program(with_settings=not any(word in VERBS for word in arguments))
        return _main(program, PROGRAM, arguments, settings)
    command = _load(verb)
    if not HELP.intersection(rest):
        command.params = [each for each in command.params if each.name not in FLAGS]
    return _main(command, f"{PROGRAM} {verb}", rest, settings)


def _main(command: Any, name: str, arguments: Sequence[str], settings: dict[str, Any]) -> Any:
    try:
        return command.main(
            args=list(arguments), prog_name=name, standalone_mode=False, obj=settings
        )
    except SystemExit as leaving:
        # Typer's own way out where nobody reads its help.
        if isinstance(leaving.__context__, BrokenPipeError):
            raise PipeClosed from None
        raise


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
    _describe(root, root, [*own, *_setting_parameters(FLAGS if with_settings else ())])
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
    module = verb_module(name)
    if hasattr(module, "VERBS"):
        app = _typer(help=module.HELP)
        app.callback()(lambda: None)
        for action, declared in module.VERBS.items():
            app.command(action)(_described(declared))
    else:
        app = _typer()
        app.command(name)(_described(module.command))
    command = get_command(app)
    command.name = name
    for each in (command, *getattr(command, "commands", {}).values()):
        _hide_types(each)
    return command


def _hide_types(command: Any) -> None:
    """Typer's help puts a type of Python beside each argument, such as `<list[Path]>`."""
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            parameter.display_type_rich = lambda **_: ""  # type: ignore[method-assign]


def _unknown(name: str) -> Refused:
    close = get_close_matches(name, VERBS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"`{PROGRAM} --help` lists all"
    return Refused(f"there is no command {name!r}", hint=hint)


def _described(declared: Verb) -> Callable[..., int]:
    """The function that Typer is to call, with the parameters that it is to see."""

    def run(ctx: typer.Context, **arguments: Any) -> int:
        form = arguments.pop("output", None)
        own = {name: value for name, value in arguments.items() if name not in FLAGS}
        try:
            return declared.call(ctx.obj, form, own)
        except KeyboardInterrupt:
            raise Interrupted from None

    output = [_output(declared.output)] if declared.output else []
    parameters = [_context(), *_own(declared.command), *output]
    _describe(run, declared.command, [*parameters, *_setting_parameters(declared.shown)])
    return run


def _setting_parameters(shown: Collection[str]) -> list[inspect.Parameter]:
    """The settings as they appear in a help text."""
    return [_setting(name, *FLAGS[name]) for name in FLAGS if name in shown]


def _describe(
    run: Callable[..., Any], command: Callable[..., Any], parameters: list[inspect.Parameter]
) -> None:
    """Give `run` the name, the documentation and the parameters that Typer is to see."""
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}


def _own(command: Callable[..., int]) -> list[inspect.Parameter]:
    """The command's own arguments and options: all but `settings` and `output`. What a module
    needs of Typer for these alone it need not import itself."""
    names = {**command.__globals__, "typer": typer}
    signature = inspect.signature(command, globals=names, eval_str=True)
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
