"""Surroundings: no home, another alphabet, closed streams, unwritable places, odd limits, an unknown user."""

from __future__ import annotations

import functools
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torture.case import Case, Must
from torture.oracles import has, same_tree
from torture.topics.common import put
from torture.topics.full import COMMANDS
from torture.topics.places import COMMANDS as PLACED
from torture.world import ROWS, tsv

TOPIC = "surroundings"


def alphabet(name: str) -> None:
    """Text streams of another encoding, as PYTHONIOENCODING makes them."""
    sys.stdout.reconfigure(encoding=name, errors="strict")  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding=name, errors="backslashreplace")  # type: ignore[union-attr]


def nobody() -> None:
    """A user without an entry in the list of users."""
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)


def limit(kind: int, value: int) -> None:
    """Bound a resource."""
    resource.setrlimit(kind, (value, value))


def reopened(number: int) -> None:
    """Make a text stream anew, which has found out at its beginning whether it can seek."""
    stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    setattr(sys, "stdout" if number == 1 else "stderr", stream)


def stream_to(path: str, number: int) -> None:
    """Send a stream elsewhere."""
    os.dup2(os.open(path, os.O_WRONLY), number)
    reopened(number)


def gone() -> None:
    """Work in a folder that is no longer there."""
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


Way = tuple[Callable[[], object] | None, dict[str, str | None], Must]
WAYS: dict[str, Way] = {
    "no HOME": (None, {"HOME": None}, "accept"),
    "a HOME that is not there": (None, {"HOME": "/nowhere/x", "XDG_CACHE_HOME": "{folder}/.cache"}, "accept"),
    "no cache can be made": (None, {"XDG_CACHE_HOME": "/proc/x"}, "either"),
    "the cache is empty text": (None, {"XDG_CACHE_HOME": "", "HOME": "{folder}/.cache"}, "accept"),
    "TMPDIR is not there": (None, {"TMPDIR": "/nowhere"}, "accept"),
    "TMPDIR is a file": (None, {"TMPDIR": "/dev/null"}, "accept"),
    "umask 777": (functools.partial(os.umask, 0o777), {}, "either"),
    "umask 077": (functools.partial(os.umask, 0o077), {}, "accept"),
    "ASCII": (functools.partial(alphabet, "ascii"), {}, "accept"),
    "UTF-16": (functools.partial(alphabet, "utf-16"), {}, "either"),
    "output to a full disk": (functools.partial(stream_to, "/dev/full", 1), {}, "either"),
    "errors to a full disk": (functools.partial(stream_to, "/dev/full", 2), {}, "either"),
    "no input": (functools.partial(os.close, 0), {}, "accept"),
    "few open files": (functools.partial(limit, resource.RLIMIT_NOFILE, 24), {}, "either"),
    "no processes": (functools.partial(limit, resource.RLIMIT_NPROC, 1), {}, "accept"),
    "a folder that is gone": (gone, {}, "refuse"),
    "odd OMP_NUM_THREADS": (None, {"OMP_NUM_THREADS": "x"}, "accept"),
    "MPLCONFIGDIR is a file": (None, {"MPLCONFIGDIR": "/dev/null"}, "accept"),
    "another PAGER and COLUMNS": (None, {"COLUMNS": "x", "TERM": "", "NO_COLOR": "1"}, "accept"),
}


def open_to_all(folder: Path) -> None:
    """Let another user read and write."""
    folder.parent.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)


def closed(folder: Path) -> None:
    """Let another user read alone."""
    open_to_all(folder)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Every surrounding for the cheap commands; some in a process of its own."""
    for name, (before, env, must) in WAYS.items():
        for verb in ("build", "predict", "evaluate"):
            argv, needs, base = COMMANDS[verb]
            leaves = "^out" if "disk" in name else "$^"
            # A message that cannot be written cannot be judged.
            yield Case(
                TOPIC,
                f"{verb}, {name}",
                (*argv, "--out", "out"),
                needs,
                must=must,
                oracle=same_tree(bases[base]),
                env=env,
                before=before,
                leaves=leaves,
            )
    if os.geteuid() == 0:
        for verb, (argv, needs, base) in COMMANDS.items():
            if verb in ("train", "explain"):
                continue
            oracle = same_tree(bases[base])
            more = {"HOME": None, "XDG_CACHE_HOME": None}
            full = (*argv, "--out", "out")
            yield Case(TOPIC, f"{verb}, unknown user", full, needs, open_to_all, "accept", before=nobody, oracle=oracle)
            yield Case(
                TOPIC,
                f"{verb}, unknown user without a home",
                full,
                needs,
                open_to_all,
                before=nobody,
                oracle=oracle,
                env=more,
            )
            yield Case(
                TOPIC, f"{verb}, inputs are read alone", full, needs, closed, "refuse", before=nobody, oracle=oracle
            )
    table = tsv([{**row, "cell_line": "Пример", "note": "\u2603"} for row in ROWS])
    for coding in ("ascii", "latin-1", "cp1252"):
        before = functools.partial(alphabet, coding)
        for verb in ("build", "predict"):
            argv, needs, file = PLACED[verb]
            yield Case(
                TOPIC,
                f"{verb}, names in {coding}",
                (*argv, "--out", "out"),
                (*needs[:-2], "genome.fa"),
                put({"rows.tsv": table}),
                "accept",
                before=before,
                oracle=has(f"out/{file}"),
            )
    build = "episode data build rows.tsv --genome genome.fa --out out"
    for name, shell, must in (
        ("output closed", f"{build} >&-", "accept"),
        ("errors closed", f"{build} 2>&-", "accept"),
        ("all closed", f"{build} <&- >&- 2>&-", "accept"),
        ("a mistake, errors closed", "episode data build no.tsv --out out 2>&-; test $? = 2", "accept"),
        ("head", f"{build} | head -1", "accept"),
        ("nobody reads", f"{build} | true", "accept"),
        ("LANG=C", f"LANG=C LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {build}", "accept"),
        ("PYTHONIOENCODING=ascii", f"PYTHONIOENCODING=ascii {build}", "accept"),
        ("optimised", f"PYTHONOPTIMIZE=2 {build}", "accept"),
        (
            "help",
            "episode --help > out.txt && episode data build --help >> out.txt && rm out.txt",
            "accept",
        ),
    ):
        yield Case(
            TOPIC,
            name,
            needs=("rows.tsv", "genome.fa"),
            shell=shell,
            must=must,
            oracle=None if name == "help" or "mistake" in name else has("out/manifest.json"),
            leaves="^out",
        )
