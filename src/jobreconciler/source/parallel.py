"""Files that were read by another process: as plain tuples on the way, and back.

See child_loader.py, which starts that process.
"""

from __future__ import annotations

from typing import Any

from jobreconciler.model.desired import DesiredFile, DesiredJob
from jobreconciler.model.problem import Problem


def packed(file: DesiredFile) -> tuple[Any, ...]:
    """Plain tuples: slotted dataclasses pickle ten times slower."""
    job = file.job
    return (
        file.path,
        file.blob,
        None
        if job is None
        else (
            job.job_id,
            job.path,
            job.blob,
            job.defaults_blob,
            job.config,
            job.digest,
            job.job_type,
            job.environments,
            job.enabled,
            job.depends_on,
            job.id_at,
            job.depends_at,
        ),
        [(p.file, p.line, p.column, p.path, p.code, p.message, p.hint) for p in file.problems],
        file.job_id,
        file.id_at,
    )


def unpacked(plain: tuple[Any, ...]) -> DesiredFile:
    """What `packed` was given."""
    path, blob, job, problems, job_id, id_at = plain
    return DesiredFile(
        path,
        blob,
        None if job is None else DesiredJob(*job),
        tuple(Problem(*problem) for problem in problems),
        job_id,
        id_at,
    )
