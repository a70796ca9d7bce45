"""What the result of a run holds, whoever writes it. Standard library only.

status, exitCode, signal, error      how it ended; error is a sentence, null where it succeeded
startedAt, finishedAt                RFC 3339, microseconds
result, progress, metrics            what it reported last; malformedReports counts the rest
outputBytes, outputDropped           what it printed; see capture.compact for two more
"""

from __future__ import annotations

from jobreconciler.execute import spool, wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jobreconciler.execute.reports import Reports

NO_OUTPUT = {"outputBytes": 0, "outputDropped": 0}


def ending(
    status: str,
    error: str | None,
    started: str,
    finished: str,
    *,
    code: int | None = None,
    number: int | None = None,
    said: Reports | None = None,
    figures: dict[str, int] = NO_OUTPUT,
) -> dict[str, Any]:
    """Instants as `wording.instant` gives them; `number` is that of a signal."""
    return {
        "status": status,
        "exitCode": code,
        "signal": number,
        "error": error,
        "startedAt": started,
        "finishedAt": finished,
        "result": None if said is None else said.result,
        "progress": None if said is None else said.progress,
        "metrics": {} if said is None else said.metrics,
        "malformedReports": 0 if said is None else said.malformed,
        **figures,
    }


_SILENT = spool.encoded(ending("succeeded", None, "%b", "%b", code=0))


def silent(began: int, ended: int) -> bytes:
    """Of a run that succeeded without a word, between two instants in nanoseconds: it is written so
    often that only these are filled in."""
    first, last = wording.instant(began / 1e9, 6), wording.instant(ended / 1e9, 6)
    return _SILENT % (first.encode(), last.encode())
