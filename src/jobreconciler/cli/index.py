"""The index of verbs: declared, not collected, so that `jobreconciler --help` imports none."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

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
VERBS = {name: said for section in INDEX.values() for name, said in section.items()}


def verb_module(name: str) -> ModuleType:
    """The module of a verb, imported now: it may need much that others do not."""
    return import_module(f"jobreconciler.cli.commands.{name.replace('-', '_')}")
