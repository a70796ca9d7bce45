"""`jobreconciler import`: job files from crontabs, Kubernetes CronJobs and systemd timers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from jobreconciler.cli.errors import FINE, NO
from jobreconciler.cli.options import verb
from jobreconciler.cli.output import note, styled, width, write, write_json
from jobreconciler.cli.places import local_jobs_dir
from jobreconciler.cli.problems import one_line
from jobreconciler.cli.words import clean, count, wrap
from jobreconciler.errors import Refused
from jobreconciler.importing.emit import render
from jobreconciler.importing.ids import assign_ids, slug
from jobreconciler.importing.report import Finding, Imported, all_findings
from jobreconciler.model.problem import Problem
from jobreconciler.settings import Settings

KINDS = ("crontab", "cronjob", "systemd")
STDIN = "-"
FEW_JOBS = 3


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file to be written, and where its job comes from."""

    job_id: str
    path: Path
    text: str
    source: str
    line: int


@verb("repo", "jobs_dir")
def command(
    settings: Settings,
    output: str,
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What the files are.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Files to read; - is standard input.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where; the jobs directory.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the files, write none.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="ZONE", help="Of what names no zone itself; UTC."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Put it before every id.")
    ] = "",
    system: Annotated[
        bool | None,
        typer.Option("--system/--user", help="The crontab has a user column, or not; by its path."),
    ] = None,
) -> int:
    """Write a job file for each cron line, CronJob or timer, and list what cannot carry over.

    What cannot carry over is also a comment in the file. A file that is not what it should be is
    an error: then nothing is written, and the exit code is 1. A timer's service is read from
    beside it.

    \b
    Example:
      jobreconciler import crontab /etc/crontab --timezone Europe/Berlin
      kubectl get cronjobs -o yaml | jobreconciler import cronjob - --dry-run
      jobreconciler import systemd /etc/systemd/system/*.timer --prefix web1-
    """
    _check(kind, prefix, timezone, system)
    imported = Imported()
    for file in dict.fromkeys(files):
        imported.add(_READERS[kind](file, timezone, system))
    ids = assign_ids(imported.drafts, prefix)
    directory = out if out is not None else local_jobs_dir(settings)
    made = [
        JobFile(job_id, directory / f"{job_id}.yaml", render(draft, job_id), draft.file, draft.line)
        for draft, job_id in zip(imported.drafts, ids, strict=True)
    ]
    errors = [*imported.errors, *_invalid(made)]
    findings = all_findings(imported, ids)
    writes = bool(made) and not errors and not dry_run
    if writes:
        _refuse_taken(directory, made, overwrite=overwrite)
        _write_all(made)
    if output == "json":
        write_json(_json(made, findings, errors, written=writes))
    else:
        _say(made, findings, errors, dry_run=dry_run)
    return NO if errors or not made else FINE


def _check(kind: str, prefix: str, timezone: str | None, system: bool | None) -> None:
    if kind not in KINDS:
        raise Refused(f"{kind!r} cannot be imported", hint=f"known are {', '.join(KINDS)}")
    if system is not None and kind != "crontab":
        raise Refused("--system and --user are about crontabs", hint="leave them out")
    if prefix and slug(prefix + "x") != prefix + "x":
        raise Refused(
            f"--prefix {prefix!r} cannot begin an id",
            hint="use lower-case letters, digits and hyphens, such as web1-",
        )
    if timezone is not None:
        from jobreconciler.core.cron_refusals import InvalidSchedule
        from jobreconciler.core.zones import zone

        try:
            zone(timezone)
        except InvalidSchedule as problem:
            raise Refused(f"--timezone: {problem.message}", hint=problem.hint) from None


# --------------------------------------------------------------------------------------- reading


def _bytes(file: str) -> bytes:
    """What is there to read, but for a byte too many. Raises Refused."""
    from jobreconciler.importing.sniff import MAX_BYTES

    try:
        if file == STDIN:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(file).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None


def _name(file: str) -> str:
    return "standard input" if file == STDIN else file


def _crontab(file: str, timezone: str | None, system: bool | None) -> Imported:
    from jobreconciler.importing.crontab import read_crontab

    return read_crontab(_name(file), _bytes(file), system=system, timezone=timezone)


def _cronjob(file: str, timezone: str | None, _: bool | None) -> Imported:
    from jobreconciler.importing.cronjob import read_cronjobs

    return read_cronjobs(_name(file), _bytes(file), timezone=timezone)


def _systemd(file: str, timezone: str | None, _: bool | None) -> Imported:
    from jobreconciler.importing.systemd import Source, Timer, names_wanted, read_timer

    if file == STDIN:
        raise Refused("a timer has a service beside it, so standard input cannot be one")
    folder = Path(file).parent

    def with_drop_ins(path: Path, name: str) -> list[Source]:
        beside = sorted((folder / f"{name}.d").glob("*.conf"))
        return [Source(str(each), _bytes(str(each))) for each in (path, *beside)]

    name = Path(file).name
    timer = with_drop_ins(Path(file), name)
    services = {
        wanted: with_drop_ins(folder / wanted, wanted)
        for wanted in names_wanted(timer)
        if (folder / wanted).is_file()
    }
    return read_timer(Timer(timer, services), timezone=timezone)


_READERS: dict[str, Callable[[str, str | None, bool | None], Imported]] = {
    "crontab": _crontab,
    "cronjob": _cronjob,
    "systemd": _systemd,
}


# --------------------------------------------------------------------------------------- writing


def _invalid(made: Sequence[JobFile]) -> list[Problem]:
    """What the loader says against the files: they are held to it before any is written."""
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.model.desired import Entry
    from jobreconciler.source.load import YamlLoader

    entries = [Entry(str(each.path), each.job_id) for each in made]
    contents = {each.job_id: each.text.encode() for each in made}
    loaded = YamlLoader(load_job_types(), configs=False).load(entries, contents, None)
    return [
        Problem(
            each.source,
            each.line,
            1 if each.line else 0,
            problem.path,
            problem.code,
            f"as a job file it would be refused: {problem.message}",
            problem.hint,
        )
        for each, file in zip(made, loaded, strict=True)
        for problem in file.problems
    ]


def _refuse_taken(directory: Path, made: Sequence[JobFile], *, overwrite: bool) -> None:
    """Before the first file is written: none is there, and no id belongs to another file."""
    for each in made:
        if each.path.is_symlink() or (os.path.lexists(each.path) and not overwrite):
            hint = "use --overwrite to replace it, --out for another directory, or --prefix"
            raise Refused(f"{each.path} exists already; nothing was written", hint=hint)
    if not directory.is_dir():
        return
    from jobreconciler.jobtypes.registry import load_job_types
    from jobreconciler.source.files import load_directory
    from jobreconciler.source.load import YamlLoader

    there = load_directory(directory, jobs_dir=".")
    loaded = YamlLoader(load_job_types(), configs=False).load(there.entries, there.contents, None)
    owners = {file.job_id: file.path for file in loaded if file.job_id is not None}
    for each in made:
        owner = owners.get(each.job_id)
        if owner is not None and owner != each.path.name:
            raise Refused(
                f"the id {each.job_id} belongs to {directory / owner}; nothing was written",
                hint="tell them apart with --prefix",
            )


def _write_all(made: Sequence[JobFile]) -> None:
    try:
        made[0].path.parent.mkdir(parents=True, exist_ok=True)
        for each in made:
            # Never half a file: the daemon may be reading the directory.
            scratch = each.path.with_name(f".{each.path.name}.new")
            scratch.write_text(each.text, encoding="utf-8")
            scratch.replace(each.path)
    except OSError as error:
        raise Refused(f"{error.filename} cannot be written: {error.strerror}") from None


# ---------------------------------------------------------------------------------------- report


def _say(
    made: Sequence[JobFile],
    findings: Sequence[Finding],
    errors: Sequence[Problem],
    *,
    dry_run: bool,
) -> None:
    for problem in errors:
        write(one_line(problem))
    if errors:
        note(f"{count(len(errors), 'error')}: nothing was written")
        return
    for each in made:
        if dry_run:
            write(f"# --- {each.path}\n{each.text}")
        else:
            write(f"wrote {each.path}")
    for finding in findings:
        write("\n".join(_lines(finding)))
    said = f"{count(len(made), 'job')}, {count(len(findings), 'thing')} to look at"
    note(said + ("; nothing was written" if dry_run else ""))
    if made and not dry_run:
        note(f"check them, then `jobreconciler validate {made[0].path.parent}`")


def _lines(finding: Finding) -> list[str]:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    jobs, more = finding.job_ids[:FEW_JOBS], len(finding.job_ids) - FEW_JOBS
    named = f" ({', '.join(jobs)}{f' and {more} more' if more > 0 else ''})" if jobs else ""
    head = f"{place}: {finding.kind.replace('_', ' ')}: {finding.what}{named}"
    return [
        styled(clean(head), "warn"),
        *wrap(clean(f"{finding.why}."), width(), "    "),
        *(wrap(clean(f"to do: {finding.hint}"), width(), "    ") if finding.hint else []),
    ]


def _json(
    made: Sequence[JobFile],
    findings: Sequence[Finding],
    errors: Sequence[Problem],
    *,
    written: bool,
) -> dict[str, Any]:
    return {
        "jobs": [
            {
                "jobId": each.job_id,
                "file": str(each.path),
                "source": {"file": each.source, "line": each.line},
                "text": each.text,
            }
            for each in made
        ],
        "findings": [
            {
                "file": each.file,
                "line": each.line,
                "jobIds": list(each.job_ids),
                "kind": each.kind,
                "what": each.what,
                "why": each.why,
                "hint": each.hint,
            }
            for each in findings
        ],
        "errors": [problem.to_json() for problem in errors],
        "written": written,
    }
