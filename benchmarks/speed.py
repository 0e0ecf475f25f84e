"""What EPIsode costs: every row of the speed benchmark, measured on this machine, and the page that tells them.

    python benchmarks/speed.py                      # all rows into benchmarks/results/speed.json, then docs/speed.md
    python benchmarks/speed.py --rows head,stem     # some of them; the others stay as they were
    python benchmarks/speed.py --rows ""            # the page alone

Every row is a function of `costs/` that returns plain numbers: one key of the results, or several where they are
measured together. A ratio is of numbers of one run. The exit code is 1 if a row could not be measured; a bar that is
missed is a finding, told in results and page, and leaves it 0. With --quick the sizes show only that the rows run, and
results and page go into the work folder, not into the project.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from costs import epoch, growth, heads, kills, page, sharing, start
from costs.context import Context
from costs.machine import facts
from episode.documents import read_json
from episode.files import finite, write_json

PROJECT = Path(__file__).resolve().parent.parent
Row = Callable[[Context, dict[str, Any]], dict[str, Any]]
ROWS: dict[str, Row] = {
    "start": lambda context, _: start.measure(context),
    "stem": lambda context, _: heads.measure_stem(context),
    "head": lambda context, _: heads.measure_head(context),
    "sharing": lambda context, _: sharing.measure(context),
    "kills": lambda context, _: kills.measure(context),
    "epoch": lambda context, _: epoch.measure(context),
    "memory": lambda context, _: growth.measure_memory(context),
    "scaling": growth.measure_scaling,
}
"""In the order of their running; each gets what this run has measured so far."""


def main() -> int:
    """Measure, write, and return 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS), metavar="A,B", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--work", type=Path, default=PROJECT / "benchmark-out" / "speed", help="inputs and outputs")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of all that is measured")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that the rows run, and no more")
    args = parser.parse_args()
    names = [name for name in args.rows.split(",") if name]
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"--rows {','.join(unknown)}: needed a list of {', '.join(ROWS)}")
    context = Context(args.work.resolve(), args.threads, args.quick)
    context.work.mkdir(parents=True, exist_ok=True)
    project = context.work if args.quick else PROJECT
    results = project / "benchmarks" / "results" / "speed.json"
    machine = facts(args.threads)
    measured: dict[str, Any] = {}
    failed = []
    for name in names:
        began = time.perf_counter()
        try:
            found = ROWS[name](context, measured)
        except Exception:  # one row must not cost the others; what went wrong is shown, and the exit code says so
            traceback.print_exc()
            failed.append(name)
            continue
        seconds = time.perf_counter() - began
        found = {key: row | {"machine": machine, "quick": args.quick} for key, row in found.items()}
        measured |= found
        known = read_json(results) if results.exists() else {}
        write_json(results, finite(known | found))
        print(f"{name}: {seconds:.0f} s")
        for key, row in found.items():
            print(f"  {page.verdict(row):<8} {key}: {row['value']}", flush=True)
    for name in failed:
        print(f"{name}: NOT MEASURED")
    if not results.exists():
        print(f"no page: {results} is not there; measure a row first, one of {', '.join(ROWS)}", file=sys.stderr)
        return 1
    page.write(read_json(results), project / "docs")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
