"""The command line's entry: imports what the verb that is called needs, and no more."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from jobreconciler.cli.errors import FINE, NO, drop_unwritten, report, say
from jobreconciler.cli.index import VERBS, verb_module
from jobreconciler.cli.late_metadata import import_late
from jobreconciler.cli.options import Verb, take_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; `sys.exit` gets it from the entry point."""
    # What a file means must not depend on which pydantic plugins happen to be installed; looking
    # for them also takes as long as validating a file.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if argv is None:
        # Importing makes many objects and no garbage; `Verb.call` turns collection on again.
        gc.disable()
        import_late()
        _stand_in_for_closed()
    try:
        settings, rest = take_settings(sys.argv[1:] if argv is None else argv)
        result = _run(rest, settings, leaves=argv is None)
    except SystemExit as leaving:
        return _code(leaving.code)
    except (Exception, KeyboardInterrupt) as error:
        code = report(error)
        drop_unwritten()
        return code
    finally:
        gc.enable()
    return result if isinstance(result, int) else FINE


def _stand_in_for_closed() -> None:
    """A stream that was closed before the start is None, and the next file to be opened would get
    its number. Writing an answer to it fails, as it should; a remark is lost."""
    for name, number, mode in (("stdout", 1, os.O_RDONLY), ("stderr", 2, os.O_WRONLY)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, mode)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def _code(left_with: object) -> int:
    """As the interpreter would: nothing is fine, and anything but a number is a last word."""
    if left_with is None or isinstance(left_with, int):
        return left_with or FINE
    say(str(left_with))
    return NO


def _run(arguments: Sequence[str], settings: dict[str, Any], *, leaves: bool) -> Any:
    """`leaves`: the process ends with this command line."""
    verb, *rest = arguments or [""]
    if verb in VERBS:
        declared = getattr(verb_module(verb), "command", None)
        if isinstance(declared, Verb):
            done = declared.call_plainly(settings, rest)
            if done is not None:
                if leaves and declared.leaves_nothing:
                    _leave(done)
                return done
    from jobreconciler.cli.typer_program import run

    return run(arguments, settings)


def _leave(code: int) -> None:
    """At once: to take apart what was imported takes an interpreter longer than to check a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
