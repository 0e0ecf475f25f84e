"""Kills: a signal in the midst of the work; the same command again, or --resume, ends with the same bytes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from torture.case import Case, Kill
from torture.oracles import same_tree
from torture.topics.full import COMMANDS

TOPIC = "kills"
MOMENTS: dict[str, tuple[str | float, ...]] = {
    "build": (0.02, 0.08, ".out.*.part/pairs.parquet", ".out.*.part/codes.npy"),
    "train": (0.3, 0.8, "out/metrics.jsonl", "out/*resume*", 1.4),
    "predict": (0.05, 0.2, "out.unfinished", "out.unfinished/*/*", 0.35),
    "evaluate": (0.1, 0.3, ".out.*.part"),
    "explain": (0.3, ".out.*.part"),
}
"""Seconds, or what lies there when the signal is sent."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Each signal at each moment; the second command is judged."""
    for verb, (argv, needs, base) in COMMANDS.items():
        for moment in MOMENTS[verb]:
            for number in SIGNALS if verb != "explain" else SIGNALS[:1]:
                full = (*argv, "--out", "out")
                for resume in ((), ("--resume",)) if verb in ("train", "predict") else ((),):
                    if not resume and number != signal.SIGKILL:
                        continue
                    again = (*full, *resume)
                    yield Case(
                        TOPIC,
                        f"{verb}, {number.name} at {moment}{', resumed' if resume else ''}",
                        full,
                        needs,
                        must="accept" if resume or verb not in ("train", "predict") else "either",
                        oracle=same_tree(bases[base]),
                        kill=Kill(number, moment, again),
                        words=("resume",),
                        leaves="^out|part$",
                    )
