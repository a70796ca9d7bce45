"""Answers of the daemon, or, where none runs, the same read from the store in the state directory.

Reading never needs a daemon: history, changes, jobs and status show what is stored, and a remark
on standard error says where it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from jobreconciler.cli.client import LOOPBACK, Client
from jobreconciler.cli.errors import Unreachable
from jobreconciler.cli.output import note
from jobreconciler.errors import NotFound
from jobreconciler.model.job import StoredJob
from jobreconciler.ports import Store
from jobreconciler.settings import Settings

Json = dict[str, Any]


def read(settings: Settings, ask: Callable[[Client], Json], look: Callable[[Store], Json]) -> Json:
    """What `ask` gets of the daemon; without one on this machine, what `look` finds in the store.

    Raises Unreachable where neither is there.
    """
    try:
        return ask(Client(settings))
    except Unreachable as unreachable:
        with store_instead(settings, unreachable) as store:
            return look(store)


@contextmanager
def store_instead(settings: Settings, unreachable: Unreachable) -> Iterator[Store]:
    """The store of a daemon on this machine that does not answer, and a remark that it is used.

    Raises `unreachable` where there is none.
    """
    if not has_store(settings) or urlsplit(settings.server).hostname not in LOOPBACK:
        raise unreachable
    note(f"{unreachable.message}; read from {place(settings)} instead")
    from jobreconciler.app import open_store

    store = open_store(settings, read_only=True)
    try:
        yield store
    finally:
        store.close()


def has_store(settings: Settings) -> bool:
    return settings.store is not None or settings.database_path.exists()


def place(settings: Settings) -> str:
    """The store in words, without what a database URL may hold of secrets."""
    return "the database" if settings.store is not None else str(settings.database_path)


def stored_job(store: Store, job_id: str) -> Json:
    """One job, deleted ones included, as the API shows it. Raises NotFound."""
    job = store.job(job_id, deleted=True)
    if job is None:
        raise NotFound(f"there is no job {job_id!r}", hint="`jobreconciler jobs` lists them")
    return _job_json(store, job)


def stored_jobs(store: Store, query: Mapping[str, Any]) -> Json:
    """A page of jobs as the API shows it. `query` holds the filters that were given."""
    from jobreconciler.model.views import JobQuery

    given = {name: value for name, value in query.items() if value is not None}
    found = store.jobs(JobQuery(**given))
    return {
        "jobs": [_job_json(store, job) for job in found.items],
        "nextCursor": found.next_cursor,
    }


def _job_json(store: Store, job: StoredJob) -> Json:
    from jobreconciler.core.views import job_json

    last = store.execution(job.last_execution_id) if job.last_execution_id else None
    return job_json(job, last_execution=last)
