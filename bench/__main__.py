"""`python -m bench [NAME…]`: run the benchmarks and print what they measured.

Each module of this package that has `measure()` is one benchmark; it returns rows of
`{what, ours, floor_or_peer, ratio, target, ok}`. `ok` is True, False, or None where no target is
set (a figure that is only shown). Exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from typing import Any

ORDER = (
    "cli", "validate", "cron", "git", "store", "execute", "web", "reconcile", "daemon", "burst",
    "late", "adopt", "hooks", "signals", "peers",
)  # fmt: skip
COLUMNS = (("what", 52), ("ours", 20), ("floor_or_peer", 44), ("ratio", 9), ("target", 22))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(ORDER)} (all by default)")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    parser.add_argument("--prefect", action="store_true", help="measure Prefect too: minutes")
    options = parser.parse_args()
    if options.prefect:
        os.environ["BENCH_PREFECT"] = "1"
    unknown = sorted(set(options.names) - set(ORDER))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}")
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    rows: list[dict[str, Any]] = []
    for name in options.names or ORDER:
        began = time.monotonic()
        found = importlib.import_module(f"bench.{name}").measure()
        rows += [{"bench": name, **row} for row in found]
        _print(name, found, time.monotonic() - began)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)
    missed = [row for row in rows if row["ok"] is False]
    print(f"{len(rows)} figures, {len(missed)} short of their target")
    return 1 if missed else 0


def _print(name: str, rows: list[dict[str, Any]], seconds: float) -> None:
    print(f"{name} ({seconds:.0f} s)")
    print("  " + "  ".join(title.replace("_", " ").ljust(width) for title, width in COLUMNS))
    for row in rows:
        mark = {True: "ok", False: "SHORT", None: ""}[row["ok"]]
        cells = (str(row.get(key) if row.get(key) is not None else "") for key, _ in COLUMNS)
        line = "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))
        print(f"  {line}  {mark}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
