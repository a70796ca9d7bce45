"""What `suspend`, `resume`, `pause` and `unpause` have in common: whom, for how long, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobreconciler.cli.output import write, write_json
from jobreconciler.cli.words import until_when
from jobreconciler.core.suspension import whom
from jobreconciler.errors import Refused

For = Annotated[
    str | None, typer.Option("--for", metavar="DURATION", help="For how long, such as 2h.")
]
Until = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="Until then: RFC 3339, with its offset.")
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; recorded.")]
OptionalJob = Annotated[str | None, typer.Argument(metavar="JOB", help="The job's id.")]
Tag = Annotated[str | None, typer.Option(metavar="TAG", help="All jobs with this tag.")]
Owner = Annotated[str | None, typer.Option(metavar="OWNER", help="All jobs of this owner.")]


def body(lasting: str | None, until: str | None, reason: str | None) -> dict[str, Any]:
    """What is sent. Raises Refused where both ends are given."""
    if lasting and until:
        raise Refused("--for and --until were both given", hint="give one of them")
    given = {"for": lasting, "until": until, "reason": reason}
    return {name: value for name, value in given.items() if value}


def check_target(job: str | None, tag: str | None, owner: str | None) -> None:
    if sum(each is not None for each in (job, tag, owner)) != 1:
        raise Refused(
            "expected one of JOB, --tag and --owner",
            hint="`jobreconciler pause` and `unpause` are for the whole fleet",
        )


def say_stopped(made: Mapping[str, Any], what: str, output: str) -> None:
    if output == "json":
        write_json(made)
        return
    end = until_when(made["until"])
    write(f"{what} {end}; what runs goes on")


def say_lifted(answer: Mapping[str, Any], what: str, output: str, otherwise: str) -> None:
    if output == "json":
        write_json(answer)
    else:
        write(f"{what} resumed" if answer["lifted"] else otherwise)


def named(job: str | None, tag: str | None, owner: str | None) -> str:
    if job is not None:
        return job
    return whom("tag", tag) if tag is not None else whom("owner", owner)
