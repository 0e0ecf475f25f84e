"""What a case is, and how its outcome is judged.

A case is a command, the files that it meets, and what may come of it: the right result, or a refusal that names what
is wrong. Everything else is a fault. Knows neither the topics nor how a command is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["FAULTS", "SOUND", "Case", "Kill", "Must", "Outcome", "Result", "judge", "snapshot"]

Must = Literal["accept", "refuse", "either"]
State = Mapping[str, tuple[int, ...]]
SOUND = ("right", "refused")
FAULTS = (
    "silent",
    "traceback",
    "crash",
    "hang",
    "memory",
    "half-written",
    "misleading",
    "strict",
    "broken",
)
"""silent: exit code 0 and a wrong result; strict: what is right is refused; broken: the case itself failed."""
MEGABYTE = 1 << 20
LINES = 60
"""Lines of a message from which on nobody reads it."""


def nothing(folder: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Kill:
    """A signal in the midst of the work, then a second command.

    Parameters
    ----------
    signal : int
    moment : str or float
        Seconds after the start, or a pattern of paths: the signal is sent when one is there.
    again : tuple of str
        Command that is run after it; its outcome is judged.
    """

    signal: int
    moment: str | float
    again: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One command and what may come of it.

    Parameters
    ----------
    argv : tuple of str
        Arguments of ``episode``; the working folder is the case's own.
    needs : tuple of str
        What of the base inputs lies in that folder.
    prepare : callable
        Writes further files into it.
    must : {"accept", "refuse", "either"}
        Which of the two sound verdicts is asked for.
    words : tuple of str
        Patterns that a refusal must hold.
    says : tuple of str
        Patterns that the output must hold where the command succeeds.
    oracle : callable, optional
        Returns what is wrong with the result of a success, or None.
    shell : str, optional
        A script of bash in place of `argv`, in a process of its own; ``episode`` is the command.
    before : callable, optional
        Runs in the new process before the command, see `episode` in `run.py`.
    env : mapping
        Changes to the environment; None takes a variable away.
    leaves : str
        Pattern of paths that a refusal may leave, such as work to be resumed.
    """

    topic: str
    name: str
    argv: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    prepare: Callable[[Path], object] = nothing
    must: Must = "either"
    words: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    oracle: Callable[[Path], str | None] | None = None
    shell: str | None = None
    before: Callable[[], object] | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    stdin: bytes | None = None
    leaves: str = r"$^"
    kill: Kill | None = None
    seconds: float = 60
    memory: int = 1500 * MEGABYTE
    fast: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a command gave back."""

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    late: bool


@dataclass(frozen=True)
class Result:
    """The verdict on a case."""

    topic: str
    name: str
    verdict: str
    note: str
    seconds: float
    cpu: float = 0.0


def snapshot(folder: Path) -> State:
    """Return the paths of a folder with what tells that they changed; caches are left out."""
    found: dict[str, tuple[int, ...]] = {}
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for path in here.iterdir():
            name = str(path.relative_to(folder))
            if name.startswith(".cache") or path.name == "store":
                continue
            status = path.lstat()
            is_folder = path.is_dir() and not path.is_symlink()
            found[name] = (status.st_mode,) if is_folder else (status.st_mode, status.st_size, status.st_mtime_ns)
            if is_folder:
                waiting.append(path)
    return found


def judge(case: Case, outcome: Outcome, before: State, after: State, folder: Path) -> tuple[str, str]:
    """Return the verdict and what is wrong."""
    last = outcome.err.strip().rsplit("\n", 1)[-1][:200]
    if outcome.late:
        return "hang", f"longer than {case.seconds:g} s"
    if "Traceback (most recent call last)" in outcome.err:
        return "traceback", last
    if outcome.peak > case.memory:
        return "memory", f"{outcome.peak // MEGABYTE} MB; {last}"
    if outcome.code not in (0, 2):
        return "crash", f"exit code {outcome.code}; {last}"
    if outcome.code == 0:
        return _judge_success(case, outcome, after, folder)
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    changed = [path for path in changed if not re.search(case.leaves, path)]
    if changed:
        return "half-written", f"{', '.join(changed[:4])}; {last}"
    if case.must == "accept":
        return "strict", _message(outcome)
    return _judge_message(case, outcome)


def _judge_success(case: Case, outcome: Outcome, after: State, folder: Path) -> tuple[str, str]:
    if case.must == "refuse":
        return "silent", f"was accepted; {outcome.out.strip()[-120:]!r}"
    if case.oracle is not None:
        try:
            wrong = case.oracle(folder)
        except Exception as error:
            wrong = f"the result cannot be read: {type(error).__name__}: {error}"
        if wrong:
            return "silent", wrong[:300]
    left = [path for path in after if path.endswith((".part", ".unfinished"))]
    if left:
        return "half-written", f"{left[0]} is left behind"
    for pattern in case.says:
        if not re.search(pattern, outcome.out + outcome.err, re.IGNORECASE):
            return "misleading", f"does not say {pattern!r}: {_message(outcome)}"
    return "right", ""


def _judge_message(case: Case, outcome: Outcome) -> tuple[str, str]:
    if not re.search(r"error: .{8,}", outcome.err, re.DOTALL):
        return "misleading", f"no message: {outcome.err[-100:]!r}"
    if outcome.err.count("\n") > LINES:
        return "misleading", f"{outcome.err.count(chr(10))} lines"
    for pattern in case.words:
        if not re.search(pattern, outcome.err, re.IGNORECASE):
            return "misleading", f"does not say {pattern!r}: {_message(outcome)}"
    return "refused", _message(outcome)


def _message(outcome: Outcome) -> str:
    found = re.search(r"error: .*", outcome.err, re.DOTALL)
    return " / ".join((found.group() if found else outcome.err or outcome.out).strip().splitlines())[:300]
