"""Disks that are full: a small file system where mounting is allowed, a bound on the size of files everywhere."""

from __future__ import annotations

import functools
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from torture.bases import SETTINGS
from torture.case import Case
from torture.oracles import same_tree
from torture.topics.common import GENOME

TOPIC = "disk full"
KILOBYTE = 1 << 10
LEVELS = (0, 4, 12, 40, 120, 300, 900)
"""Kilobytes that are free."""
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "build": (
        ("data", "build", "pairs.tsv", *GENOME, "--enhancer-window", "0", "--promoter-window", "0"),
        ("pairs.tsv", "genome.fa"),
        "ds",
    ),
    "train": (("train", "ds", *SETTINGS), ("ds",), "run"),
    "predict": (("predict", "run", "rows.tsv", *GENOME), ("run", "rows.tsv", "genome.fa"), "pr"),
    "evaluate": (("evaluate", "run", "ds", "--split", "test"), ("run", "ds"), "ev"),
    "explain": (("explain", "run", "ds", "--split", "test", "--pairs", "1", "--figures", "0"), ("run", "ds"), "ex"),
}


def mount(place: Path, size: int) -> None:
    """Mount a file system in memory; `torture.run` takes it away."""
    place.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True, capture_output=True
    )


@functools.cache
def can_mount() -> bool:
    """Tell whether this process may mount."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mount(Path(folder), 1 << 16)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=False)
    return True


def small(kilobytes: int, folder: Path) -> None:
    """A file system with so much room left."""
    mount(folder / "small", 1 << 20)
    (folder / "small/other").write_bytes(bytes((1 << 20) - kilobytes * KILOBYTE))


def bounded(kilobytes: int) -> None:
    """Files of this process cannot grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * KILOBYTE,) * 2)


WORDS = r"space|disk|full|too large|write"


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Each command at several levels of filling."""
    for verb, (argv, needs, base) in COMMANDS.items():
        for level in LEVELS:
            leaves = {"train": r"^(small/)?out", "predict": r"^(small/)?out\.unfinished"}.get(verb, "$^")
            words = (WORDS, "resume") if verb == "train" and level > 200 else (WORDS,)
            before = functools.partial(bounded, level)
            if level:  # else nothing can be said either
                yield Case(
                    TOPIC,
                    f"{verb}, files of {level} kB",
                    (*argv, "--out", "out"),
                    needs,
                    before=before,
                    words=words,
                    oracle=same_tree(bases[base]),
                    leaves=leaves,
                )
            if can_mount():
                yield Case(
                    TOPIC,
                    f"{verb}, {level} kB left",
                    (*argv, "--out", "small/out"),
                    needs,
                    functools.partial(small, level),
                    words=words,
                    oracle=same_tree(bases[base], out="small/out"),
                    leaves=leaves,
                )
        if verb in ("predict", "evaluate"):
            for level in (0, 12, 120):
                more = ("--cache", "small/cache", "--out", "out")
                if can_mount():
                    yield Case(
                        TOPIC,
                        f"{verb}, cache with {level} kB left",
                        (*argv, *more),
                        needs,
                        functools.partial(small, level),
                        words=(WORDS,),
                        oracle=same_tree(bases[base]),
                        leaves=r"^small|^out\.unfinished",
                    )
    if can_mount():
        for level in (0, 40):
            cache = {"XDG_CACHE_HOME": "{folder}/small/cache"}
            argv, needs, base = COMMANDS["build"]
            yield Case(
                TOPIC,
                f"build, index with {level} kB left",
                (*argv, "--out", "out"),
                needs,
                functools.partial(small, level),
                words=(WORDS,),
                oracle=same_tree(bases[base]),
                env=cache,
                leaves="^small",
            )
