"""Executions and what they wrote: as a daemon serves them, or read where they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from jobreconciler.cli.answers import stored_job
from jobreconciler.cli.client import Client, segment
from jobreconciler.errors import NotFound
from jobreconciler.ports import Store

Json = dict[str, Any]
PIECE = 1024 * 1024
RECENT = 50
"""How many of a job's executions are looked at for the newest one that has started."""


class Runs(Protocol):
    """Raises NotFound for what is not there."""

    def of_job(self, job_id: str) -> list[Json]:
        """Its newest executions, newest first."""

    def execution(self, execution_id: str) -> Json: ...

    def output(self, execution_id: str, attempt: int, offset: int) -> tuple[bytes, int]:
        """A piece of it, and the offset of what follows; an empty one ends it for now."""


class ServedRuns:
    """`Runs` of a daemon."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def of_job(self, job_id: str) -> list[Json]:
        path = f"/api/v1/jobs/{segment(job_id)}/executions"
        found: list[Json] = self._client.get(path, limit=RECENT)["executions"]
        return found

    def execution(self, execution_id: str) -> Json:
        found: Json = self._client.get(f"/api/v1/executions/{segment(execution_id)}")
        return found

    def output(self, execution_id: str, attempt: int, offset: int) -> tuple[bytes, int]:
        path = f"/api/v1/executions/{segment(execution_id)}/logs"
        content, headers = self._client.raw(path, attempt=attempt, offset=offset)
        return content, int(headers.get("x-next-offset", offset + len(content)))


class StoredRuns:
    """`Runs` of the store and the spool in the state directory."""

    def __init__(self, store: Store, state_dir: Path) -> None:
        self._store = store
        self._state_dir = state_dir

    def of_job(self, job_id: str) -> list[Json]:
        from jobreconciler.core.views import executions_json

        stored_job(self._store, job_id)
        found: list[Json] = executions_json(self._store.executions(job_id, limit=RECENT))[
            "executions"
        ]
        return found

    def execution(self, execution_id: str) -> Json:
        from jobreconciler.core.views import execution_json

        found = self._store.execution(execution_id)
        if found is None:
            raise NotFound(
                f"there is no execution {execution_id}",
                hint="`jobreconciler history JOB` lists them",
            )
        return execution_json(found)

    def output(self, execution_id: str, attempt: int, offset: int) -> tuple[bytes, int]:
        from jobreconciler.core.views import output_bytes
        from jobreconciler.execute import spool
        from jobreconciler.execute.capture import read_output

        run = spool.directory(str(self._state_dir.absolute()), execution_id, attempt)
        piece = read_output(Path(run) / spool.OUTPUT, offset, PIECE)
        return output_bytes(piece.data, piece.skipped), piece.offset
