"""What `/metrics` tells: figures the loops report, and series for every job of the fleet.

Names, types and labels are public. The loops' figures live in a prometheus-client registry of
their own. The per-job series (about nine a job) don't: `per_job.py` writes them as text, in slices
that leave the event loop free in between.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from jobreconciler.model.change import RESULTS
from jobreconciler.observe.per_job import PerJobSeries, Stats
from jobreconciler.ports import Observer

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "jobreconciler"

_RUN_BUCKETS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_PASS_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LATENESS_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300)
_APPLY_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30, 60, 300, 900, 3600)
_HTTP_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.5)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_SAMPLES: Final = 100
"""Samples prometheus-client writes in about a millisecond."""


class _OneFamily(Collector):
    """Lets prometheus-client write one family, or a part of it, and not the whole registry."""

    def __init__(self, family: Metric) -> None:
        self.family = family

    def collect(self) -> Iterable[Metric]:
        yield self.family


class Metrics:
    """The `Observer` of the loops, and the text of `/metrics`. One per daemon.

    Reporting is thread-safe, costs microseconds and never raises. `version` becomes
    `build_info`'s label.
    """

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.per_job = PerJobSeries(PREFIX)
        self._revision: str | None = None
        self._audit_head: str | None = None
        ProcessCollector(registry=self.registry)
        self._declare_loops()
        self._declare_runs()
        self._declare_http()
        build = Info("build", "The program that answers.", namespace=PREFIX, registry=self.registry)
        build.info({"version": version, "python": platform.python_version()})

    # ------------------------------------------------------------------------------- declarations

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
    ) -> Histogram:
        return Histogram(
            name, text, labels, namespace=PREFIX, buckets=buckets, registry=self.registry
        )

    def _declare_loops(self) -> None:
        self._source_info = self._gauge("source_info", "The applied revision.", ["revision"])
        self._source_at = self._gauge(
            "source_last_success_timestamp_seconds", "When the source last answered."
        )
        self._git = self._counter(
            "git_operations_total", "Operations on the git repository.", ["operation", "result"]
        )
        self._reconciles = self._counter("reconcile_total", "Reconcile passes.", ["result"])
        for result in RESULTS:  # from zero on, so that `increase()` sees the first one too
            self._reconciles.labels(result)
        self._reconcile_seconds = self._histogram(
            "reconcile_duration_seconds", "How long a reconcile pass took.", _PASS_BUCKETS
        )
        self._applied_seconds = self._histogram(
            "commit_to_applied_seconds",
            "From the time a commit was made to the time its changes were applied.",
            _APPLY_BUCKETS,
        )
        self._changes = self._counter(
            "config_changes_total", "Changes applied to jobs.", ["action"]
        )
        self._invalid = self._gauge(
            "config_invalid_files", "Job files of the last read revision that are invalid."
        )
        self._held = self._gauge(
            "jobs_held", "Jobs that keep an older config because their file cannot be applied."
        )
        self._healed = self._counter(
            "drift_healed_total", "Stored configs that had drifted and were healed."
        )
        self._head = self._gauge(
            "audit_head_info", "Hash of the newest changelog row, to anchor the chain.", ["hash"]
        )
        self._errors = self._counter(
            "loop_errors_total", "Unexpected errors a loop survived.", ["loop"]
        )

    def _declare_runs(self) -> None:
        self._run_seconds = self._histogram(
            "execution_duration_seconds",
            "How long executions ran, from the first start to the end.",
            _RUN_BUCKETS,
            ["job_type"],
        )
        self._run_seconds_of: dict[str, Histogram] = {}
        self._running = self._gauge("executions_running", "Executions that run now.")
        self._waiting = self._gauge("executions_waiting", "Executions that wait to start.")
        self._clock_parted = self._gauge(
            "clock_parted_seconds",
            "How far the wall clock was set, where no slot starts because of it; else 0.",
        )
        self._lateness = self._histogram(
            "schedule_lateness_seconds",
            "From a slot's time, jitter included, to the start of its process.",
            _LATENESS_BUCKETS,
        )

        self._notifications = self._counter(
            "notifications_total",
            "Attempts to send a notification: delivered, failed or given_up.",
            ["channel_type", "result"],
        )

    def _declare_http(self) -> None:
        self._requests = self._counter(
            "http_requests_total", "HTTP requests answered.", ["method", "route", "status"]
        )
        self._request_seconds = self._histogram(
            "http_request_duration_seconds",
            "How long HTTP requests took, to the last byte.",
            _HTTP_BUCKETS,
            ["route"],
        )

    # ----------------------------------------------------------------------------------- Observer

    def reconcile_finished(self, result: str, seconds: float) -> None:
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)

    def commit_applied(self, seconds: float) -> None:
        self._applied_seconds.observe(max(seconds, 0.0))

    def config_changed(self, action: str, count: int = 1) -> None:
        self._changes.labels(action).inc(max(count, 0))
        self.jobs_changed()

    def invalid_files(self, count: int) -> None:
        self._invalid.set(count)

    def held_jobs(self, count: int) -> None:
        self._held.set(count)

    def drift_healed(self, count: int) -> None:
        self._healed.inc(max(count, 0))

    def source_seen(self, revision: str, at: datetime) -> None:  # noqa: ARG002
        self._source_at.set(at.timestamp())

    def source_applied(self, revision: str) -> None:
        if revision != self._revision:
            _only(self._source_info, self._revision, revision)
            self._revision = revision

    def git_operation(self, operation: str, result: str) -> None:
        self._git.labels(operation, result).inc()

    def audit_head(self, digest: str) -> None:
        if digest != self._audit_head:
            _only(self._head, self._audit_head, digest)
            self._audit_head = digest

    def execution_finished(self, job_id: str, job_type: str, status: str, seconds: float) -> None:
        of_type = self._run_seconds_of.get(job_type)
        if of_type is None:
            of_type = self._run_seconds_of[job_type] = self._run_seconds.labels(job_type)
        of_type.observe(max(seconds, 0.0))
        self.per_job.executed(job_id, status)

    def slot_missed(self, job_id: str, count: int) -> None:
        self.per_job.missed(job_id, count)

    def slot_skipped(self, job_id: str, reason: str) -> None:
        self.per_job.skipped(job_id, reason)

    def lateness(self, seconds: float) -> None:
        self._lateness.observe(max(seconds, 0.0))

    def clock_parted(self, seconds: float) -> None:
        self._clock_parted.set(seconds)

    def loop_error(self, loop: str) -> None:
        self._errors.labels(loop).inc()

    def notification(self, channel_type: str, result: str) -> None:
        self._notifications.labels(channel_type, result).inc()

    def running(self, count: int) -> None:
        self._running.set(count)

    def waiting(self, count: int) -> None:
        self._waiting.set(count)

    def jobs_changed(self, job_ids: Collection[str] | None = None) -> None:
        self.per_job.stale(job_ids)

    # --------------------------------------------------------------------------------------- HTTP

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is a route's template (`/api/v1/jobs/{job_id}`), never a path."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(route).observe(max(seconds, 0.0))

    # --------------------------------------------------------------------------------------- text

    async def render(
        self,
        stats: Stats,
        next_slots: Callable[[], Mapping[str, datetime]],
        now: datetime,
    ) -> AsyncIterator[bytes]:
        """The whole answer, in pieces of a few milliseconds' work with a turn of the loop between.

        `stats` is blocking and called in a thread, and only for jobs of which something was said
        since the last time; `next_slots` is called on the loop and must be cheap.
        """
        for piece in self._registry_pieces():
            yield piece
            await asyncio.sleep(0)
        async for piece in self.per_job.render(stats, next_slots, now):
            yield piece

    def _registry_pieces(self) -> Iterator[bytes]:
        for family in self.registry.collect():
            samples = family.samples
            for start in range(0, len(samples), _SAMPLES):
                family.samples = samples[start : start + _SAMPLES]
                text = generate_latest(_OneFamily(family))
                yield text if start == 0 else _without_head(text)


def _without_head(text: bytes) -> bytes:
    """The later parts of a family repeat its HELP and TYPE lines; one pair is wanted."""
    return text.split(b"\n", 2)[2]


def _only(gauge: Gauge, old: str | None, new: str) -> None:
    """An info-like gauge has one series: the value's."""
    gauge.labels(new).set(1)
    if old is not None:
        with suppress(KeyError):
            gauge.remove(old)


def _port(metrics: Metrics) -> Observer:
    """Let the type checker hold Metrics against the port."""
    return metrics
