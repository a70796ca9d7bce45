"""One reconcile in words, from the daemon's record or from `apply`'s own pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobreconciler.cli.words import SHORT, clean

FINE = frozenset({"applied", "unchanged"})
_WORDS = (
    ("create", "created"),
    ("update", "updated"),
    ("move", "moved"),
    ("delete", "deleted"),
    ("hold", "held"),
    ("unchanged", "unchanged"),
)

_NEXT = {
    "held": "`jobreconciler status` shows what is held, `jobreconciler validate` every mistake",
    "blocked": "`jobreconciler status` says what is blocked and how to approve it",
    "refused": "`jobreconciler validate` lists every mistake",
}


def went_well(record: Mapping[str, Any]) -> bool:
    """Everything the commit says is applied now."""
    return record["result"] in FINE


def pass_text(record: Mapping[str, Any]) -> str:
    """`applied 1a2b3c: 2 created, 1 held`, and below it what went wrong."""
    revision = (record.get("revision") or "")[:SHORT]
    summary = record.get("summary") or {}
    counted = ", ".join(f"{summary[key]} {said}" for key, said in _WORDS if summary.get(key))
    if record["result"] == "failed":
        line = f"failed; {f'{revision} stays applied' if revision else 'nothing is applied yet'}"
    else:
        line = f"{record['result']} {revision}" + (f": {counted}" if counted else "")
    error = record.get("error")
    if not error:
        hint = _NEXT.get(record["result"])
        return f"{line}\nhint: {hint}" if hint else line
    lines = [line, f"error: {clean(error['message'])}"]
    return "\n".join([*lines, f"hint: {clean(error['hint'])}"] if error["hint"] else lines)
