"""The signal jobs beside what SQLite needs for the bare question, and their memory.

The floor of a pass is one `SELECT … GROUP BY document_id` over the same table, by the same library
through its own driver, with every aggregate that a pass computes and nothing written. Each pass and
each advancement runs in a process of its own, which times the work alone: no imports, no start. Of
several rounds the quickest counts, on both sides.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

DOCUMENTS = 50_000
EVENTS = 1_000_000
NEW_EVENTS = 1_000
FEW = 10_000
ROUNDS = 3
SHORT_ROUNDS = 5

CONTEXT = """
import json, resource, sys, time
from jobreconciler.signals.database import Database
from jobreconciler.signals.periods import ALL_TIME

class Context:
    parameters = None; batch_size = None; dry_run = False; attempt = 1; slot = None
    trigger = "manual"; config_revision = "c" * 40
    execution_id = sys.argv[2]
    def progress(self, done, total): pass
    def metric(self, name, value, unit=""): pass
    def log(self, level, message, **fields): pass
    def cancelled(self): return False

def measured(work):
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "result": result}))

database = Database("sqlite:///" + sys.argv[1])
"""

AGGREGATE = """
from jobreconciler.signals.aggregate import aggregate
measured(lambda: aggregate(database, ALL_TIME, Context()))
"""

ADVANCE = """
from jobreconciler.signals.advance import advance
from jobreconciler.signals.rules import Criterion, Rule
def rule(name, lower, upper, *criteria, logic="AND"):
    return Rule(name, lower, upper, tuple(Criterion(*each) for each in criteria), logic)
rules = [
    rule("seed-cited", "seed", "sprout", ("citations", ">=", 3), ("view_count", ">=", 20)),
    rule("seed-used", "seed", "sprout", ("view_count", ">=", 5), ("citations", ">=", 1),
         logic="OR"),
    rule("sprout", "sprout", "sapling", ("retrievals", ">=", 5), ("utilityScore", ">", 0.6)),
    rule("sapling", "sapling", "tree", ("citations", ">=", 3), ("quality_score", ">=", 0.6)),
    rule("tree", "tree", "grove", ("advancement_eligible", "==", 1)),
]
measured(lambda: advance(database, ALL_TIME, Context(), rules, max_errors=0))
"""

FILL = """
from jobreconciler.signals.demo import fill
database.create()
until = 1_790_000_000_000_000
fill(database, document_count=int(sys.argv[3]), event_count=int(sys.argv[4]), seed=1, until=until)
measured(lambda: None)
"""

BARE = """
SELECT document_id,
  count(*) FILTER (WHERE event_type = 'viewed'),
  count(*) FILTER (WHERE event_type = 'retrieved'),
  count(*) FILTER (WHERE event_type = 'referenced'),
  count(*) FILTER (WHERE event_type = 'searched'),
  count(*) FILTER (WHERE event_type = 'rated' AND rating = 'up'),
  count(*) FILTER (WHERE event_type = 'rated' AND rating = 'down'),
  count(*) FILTER (WHERE event_type = 'exported'),
  count(*) FILTER (WHERE event_type = 'promoted'),
  count(*) FILTER (WHERE event_type = 'refined'),
  count(DISTINCT session_id), count(DISTINCT user_id), count(DISTINCT lens_id),
  count(DISTINCT hub_id), count(DISTINCT query_hash), min(created_at), max(created_at)
FROM usage_events GROUP BY document_id
"""

NEW = """
INSERT INTO usage_events (document_id, event_type, session_id, created_at)
SELECT 'doc-' || printf('%06d', 1 + abs(random()) % :documents), 'viewed', 'new', 1790000000000000
FROM usage_events LIMIT :events
"""

FORGET = "DELETE FROM signal_aggregations; DELETE FROM aggregation_passes;"


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large.db", Path(folder) / "small.db"
        _child(FILL, large, "fill", str(DOCUMENTS), str(EVENTS))
        passes = _passes(large)
        _child(FILL, small, "fill", str(FEW), str(EVENTS * FEW // DOCUMENTS))
        _child(AGGREGATE, small, "first")
        return [*passes, *_advancement(large, small)]


def _passes(path: Path) -> list[dict[str, Any]]:
    """First passes and bare selects in turns, then passes over a few new events."""
    bare, first, later = [], [], []
    for n in range(ROUNDS):
        bare.append(_bare(path))
        _sql(path, FORGET)
        first.append(_child(AGGREGATE, path, f"first-{n}")["seconds"])
    computed = 0
    for n in range(SHORT_ROUNDS):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(NEW, {"documents": DOCUMENTS, "events": NEW_EVENTS})
        done = _child(AGGREGATE, path, f"later-{n}")
        later.append(done["seconds"])
        computed = done["result"]["itemsProcessed"]
    floor, whole, part = (min(each) for each in (bare, first, later))
    return [
        {
            "what": f"first pass, {EVENTS:,} events, {DOCUMENTS:,} documents",
            "ours": f"{whole:.2f} s",
            "floor_or_peer": f"{floor:.2f} s, one bare SELECT … GROUP BY",
            "ratio": f"{whole / floor:.2f} ×",
            "target": "≤ 3 ×",
            "ok": whole <= 3 * floor,
        },
        {
            "what": f"a pass after {NEW_EVENTS:,} new events ({computed:,} documents)",
            "ours": f"{part * 1000:.0f} ms",
            "floor_or_peer": f"{whole:.2f} s, the first pass",
            "ratio": f"1/{whole / part:.0f}",
            "target": "≤ 1/20",
            "ok": part <= whole / 20,
        },
    ]


def _advancement(large: Path, small: Path) -> list[dict[str, Any]]:
    few = _child(ADVANCE, small, "advance")
    many = _child(ADVANCE, large, "advance")
    looked, moved = many["result"]["itemsProcessed"], many["result"]["metadata"]["advanced"]
    assert looked > DOCUMENTS * 0.95, "all but the highest tier is looked at"
    growth = many["peak"] / few["peak"]
    return [
        {
            "what": f"advancement, {DOCUMENTS:,} documents, 5 rules, {moved:,} move",
            "ours": f"{many['seconds']:.2f} s",
            "floor_or_peer": f"{few['seconds']:.2f} s, {FEW:,} documents",
            "ratio": f"{many['seconds'] / few['seconds']:.1f} ×",
            "target": "≤ 5 s",
            "ok": many["seconds"] <= 5,
        },
        {
            "what": f"its peak memory, {DOCUMENTS:,} documents",
            "ours": f"{many['peak'] / 2**20:.0f} MiB",
            "floor_or_peer": f"{few['peak'] / 2**20:.0f} MiB, {FEW:,} documents",
            "ratio": f"{growth:.2f} ×",
            "target": "≤ 1.1 ×",
            "ok": growth <= 1.1,
        },
    ]


def _child(code: str, path: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CONTEXT + code, str(path), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _bare(path: Path) -> float:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = -8192")
        began = time.perf_counter()
        rows = connection.execute(BARE).fetchall()
        seconds = time.perf_counter() - began
    assert len(rows) > DOCUMENTS * 0.9
    return seconds


def _sql(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
