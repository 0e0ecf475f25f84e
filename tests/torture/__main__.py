"""``python -m torture``: run the cases, print the verdicts by topic; exit code 1 if there is a fault."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from torture.bases import ready
from torture.case import FAULTS, SOUND, Case, Result
from torture.run import import_everything, run_case
from torture.topics import gather

__all__ = ["main", "markdown"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run cases; return the exit code."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument(
        "--only", metavar="TOPIC", help="these topics (A,B), or cases whose name has a text with a slash"
    )
    parser.add_argument("--fast", action="store_true", help="the part that 'make test' runs")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at a time (default: all cores)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the summary as Markdown")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write a line for each case")
    args = parser.parse_args(argv)
    begun = time.monotonic()
    import_everything()
    bases = ready()
    cases = [case for case in gather(bases) if _chosen(case, args)]
    if args.list:
        print("\n".join(f"{case.topic}/{case.name}" for case in cases))
        return 0
    results = []
    with tempfile.TemporaryDirectory(prefix="torture-") as place:
        for result in _run(cases, bases, Path(place), args.jobs):
            results.append(result)
            if result.verdict in FAULTS:
                print(f"{result.verdict}: {result.topic}/{result.name}: {result.note}", flush=True)
    table = markdown(results)
    seconds, cpu = time.monotonic() - begun, sum(result.cpu for result in results)
    print(f"\n{table}\n{len(results):,} cases in {seconds:.0f} s ({cpu:.0f} s of CPU)")
    if args.table is not None:
        args.table.write_text(table)
    if args.results is not None:
        lines = (f"{r.verdict}\t{r.topic}/{r.name}\t{r.cpu:.2f}\t{r.note}\n" for r in results)
        args.results.write_text("".join(sorted(lines)))
    return int(any(result.verdict in FAULTS for result in results))


def _chosen(case: Case, args: argparse.Namespace) -> bool:
    wanted = not args.only or case.topic in args.only.split(",")
    wanted = wanted or ("/" in args.only and args.only in f"{case.topic}/{case.name}")
    return wanted and (case.fast or not args.fast)


def _run(cases: list[Case], bases: dict[str, Path], place: Path, jobs: int) -> Iterator[Result]:
    """Run cases side by side, each in a process forked from this one."""
    global _work
    _work = (cases, bases, place)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(_one, range(len(cases)))


_work: tuple[list[Case], dict[str, Path], Path]


def _one(number: int) -> Result:
    cases, bases, place = _work
    return run_case(cases[number], bases, place)


def markdown(results: Sequence[Result]) -> str:
    """Table of verdicts by topic."""
    seen = [verdict for verdict in (*SOUND, *FAULTS) if verdict in SOUND or any(r.verdict == verdict for r in results)]
    lines = [f"| topic | cases | {' | '.join(seen)} |", "|---|" + "---:|" * (len(seen) + 1)]
    topics = list(dict.fromkeys(sorted(result.topic for result in results)))
    for topic in (*topics, ""):
        part = Counter(result.verdict for result in results if topic in ("", result.topic))
        cells = [topic or "all", sum(part.values()), *(part[verdict] for verdict in seen)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
