"""What a batch job counts on its way, and the result every one of them ends with."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from jobreconciler.ports import JobContext

MOST_ERRORS = 100
MOST_LISTED_BYTES = 256 * 1024
"""A result is one line of at most 1 MiB; what it lists must leave room for the rest."""


@dataclass(slots=True)
class Listed:
    """A list that stops growing before it is too large for a result, and says what it left out."""

    items: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    _room: int = MOST_LISTED_BYTES

    def add(self, item: dict[str, Any]) -> None:
        size = len(json.dumps(item, default=str))
        if self.left_out or size > self._room:
            self.left_out += 1
            return
        self._room -= size
        self.items.append(item)


@dataclass(slots=True)
class Tally:
    """Documents that were dealt with. Every one of them either succeeded or failed."""

    context: JobContext
    total: int
    succeeded: int = 0
    failed: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @property
    def processed(self) -> int:
        return self.succeeded + self.failed

    def done(self, documents: int) -> None:
        self.succeeded += documents

    def fail(self, document_id: str, error: str) -> None:
        """One document failed: said in the log at once, and in the result."""
        self.failed += 1
        self.context.log("error", "document failed", document=document_id, error=error)
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"documentId": document_id, "error": error})

    def report(self) -> None:
        """After a batch. What joined the queue meanwhile is no reason to show more than all."""
        self.total = max(self.total, self.processed)
        self.context.progress(self.processed, self.total)

    def result(self, **metadata: Any) -> dict[str, Any]:
        """The run's result; also reports how fast it was."""
        seconds = max(time.monotonic() - self._began, 1e-6)
        self.context.metric("documents", self.processed, "1")
        self.context.metric("documents_failed", self.failed, "1")
        self.context.metric("documents_per_second", round(self.processed / seconds, 1), "1/s")
        if self.errors:
            metadata["errors"] = self.errors
        return {
            "itemsProcessed": self.processed,
            "itemsSucceeded": self.succeeded,
            "itemsFailed": self.failed,
            "metadata": metadata,
        }
