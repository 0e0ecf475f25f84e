"""`episode predict` in children that die: a process of its own, as a process with threads had better not fork.

    python killed_prediction.py FOLDER POINTS MOMENTS WORDS...

WORDS are those of the command without --out. POINTS lives are cut short at a call that changes what lies on the disk,
MOMENTS at a point in time. Each life of a prediction is cut short once or twice, then gone on with
until it ends; its folder is left in FOLDER. Prints the points of the kills, and what each last child said.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from episode.cli.main import main
from episode.predict.streaming import blocks as staging

staging.ROWS = 64
CALLS = ("replace", "rename", "unlink")
"""Of `os`: what makes things appear and vanish."""


def child(words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Start a prediction that ends, or is ended by what `prepare` lays for it; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.set_num_threads(1)
        prepare()
        os._exit(main(words))
    finally:
        os._exit(99)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_at(point: float) -> None:
    """Die before call `point` of `CALLS`, counted together from 0, or after it if it is a half."""
    counter = itertools.count()

    def laid(call: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **options: Any) -> Any:
            number = next(counter)
            if number == point:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **options)
            finally:  # a file that is removed may be gone
                if number + 0.5 == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        return dying

    for name in CALLS:
        setattr(os, name, laid(getattr(os, name)))


def count_calls(path: Path) -> None:
    """Write the number of `CALLS` to a file, each time anew."""
    counter = itertools.count(1)

    def laid(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **options: Any) -> Any:
            path.write_text(str(next(counter)))
            return call(*args, **options)

        return counting

    for name in CALLS:
        setattr(os, name, laid(getattr(os, name)))


def run() -> None:
    folder, n_points, n_moments, words = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    rng = np.random.default_rng(0)

    def predict(name: str) -> list[str]:
        (folder / name).mkdir(exist_ok=True)
        return [*words, "--out", str(folder / name / "out")]

    began = time.perf_counter()
    assert status(child(predict("whole"), lambda: count_calls(folder / "calls"))) == 0
    lasted = time.perf_counter() - began
    calls = int((folder / "calls").read_text())
    (folder / "calls").unlink()
    # The last calls finish the prediction; the others are drawn from all.
    points = [*rng.choice(np.arange(0, calls, 0.5), 4, replace=False), calls - 1, calls - 2.5]
    for number, point in enumerate(map(float, points[:n_points])):
        again = predict(f"point{number}")
        first = status(child(again, lambda point=point: die_at(point)))  # type: ignore[misc]
        second = status(child([*again, "--resume"], lambda: die_at(3.0)))
        print(f"call {point} of {calls}: {first}, {second}, {status(child([*again, '--resume']))}", flush=True)
    for number, share in enumerate(rng.uniform(0.1, 1, n_moments)):
        again = predict(f"moment{number}")
        pid = child(again)
        time.sleep(share * lasted)
        os.kill(pid, signal.SIGKILL)
        print(f"after {share:.2f} of the time: {status(pid)}, {status(child([*again, '--resume']))}", flush=True)


if __name__ == "__main__":
    run()
