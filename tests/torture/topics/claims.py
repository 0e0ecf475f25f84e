"""Claims: planted results, from which a page must not read a win; alarms that must travel; labels that are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torture.case import Case
from torture.oracles import Oracle, all_of, has
from torture.topics.common import GENOME, put
from torture.topics.folders import rewrite
from torture.world import ROWS, training_rows, tsv

TOPIC = "claims"
WIN = r"\b(beats|outperforms|is better than|improves on|wins)\b"


def plant(
    value: float, low: float, high: float, blocks: int, draws: int = 2000, *, folder: str = "made"
) -> Callable[[Path], None]:
    """A fabricated comparison whose paired differences are all this."""

    def fill(content: Any) -> None:
        if isinstance(content, dict):
            if {"value", "low", "high"} <= set(content):
                content.update(value=value, low=low, high=high)
            for part in content.values():
                fill(part)
        elif isinstance(content, list):
            for part in content:
                fill(part)

    def change(data: bytes) -> bytes:
        content = json.loads(data)
        fill(content["differences"])
        content["intervals"] |= {"blocks": blocks, "draws": draws}
        return json.dumps(content).encode()

    def prepare(place: Path) -> None:
        from fabricated_folders import comparison

        comparison(place / folder)
        rewrite(place / folder / "results.json", change)

    return prepare


def says_not(path: str, pattern: str) -> Oracle:
    """Ask that a page has no such words."""

    def oracle(folder: Path) -> str | None:
        page = re.sub(r"<(script|style|svg).*?</\1>", "", (folder / path).read_text(), flags=re.DOTALL)
        found = re.search(pattern, re.sub(r"<[^>]+>", " ", page), re.IGNORECASE)
        return (
            None if found is None else f"says {page[max(0, found.start() - 60) : found.end() + 40]!r}: {found.group()}"
        )

    return oracle


def holds(path: str, pattern: str) -> Oracle:
    """Ask that a file has such words."""

    def oracle(folder: Path) -> str | None:
        return (
            None
            if re.search(pattern, (folder / path).read_text(), re.IGNORECASE)
            else f"{path} does not say {pattern!r}"
        )

    return oracle


NO_WIN: dict[str, tuple[float, float, float, int]] = {
    "nothing": (0.0, 0.0, 0.0, 40),
    "a tenth of a thousandth": (0.0003, 0.0001, 0.0005, 40),
    "the same, negative": (-0.0003, -0.0005, -0.0001, 40),
    "two blocks": (0.2, 0.1, 0.3, 2),
    "two blocks, negative": (-0.2, -0.3, -0.1, 2),
    "nine blocks": (0.2, 0.1, 0.3, 9),
    "zero inside": (0.05, -0.01, 0.11, 40),
    "zero at the edge": (0.05, 0.0, 0.1, 40),
    "upside down": (0.05, 0.1, 0.01, 40),
}


def cases(bases: Mapping[str, Path]) -> Iterator[Case]:
    """Pages of planted comparisons; predictions of a run with alarms; data without labels."""
    for name, (value, low, high, blocks) in NO_WIN.items():
        oracle = all_of(has("made/index.html"), says_not("made/index.html", WIN))
        yield Case(
            TOPIC, f"planted: {name}", ("report", "made"), prepare=plant(value, low, high, blocks), oracle=oracle
        )
    predict = ("predict", "run", "rows.tsv", *GENOME, "--out", "out")
    needs = ("run", "rows.tsv", "genome.fa")
    alarm = "weak_potential|chance"
    yield Case(TOPIC, "alarms, errors", predict, needs, must="accept", says=(alarm,))
    for file in ("environments.tsv", "prediction.json", "predictions.interact"):
        yield Case(TOPIC, f"alarms, {file}", predict, needs, must="accept", oracle=holds(f"out/{file}", alarm))
    evaluate = ("evaluate", "run", "ds", "--split", "test", "--out", "out")
    yield Case(TOPIC, "alarms, evaluate", evaluate, ("run", "ds"), must="accept", says=(alarm,))
    rows = [{**row, "label": ""} for row in training_rows()]
    build = "episode data build bare.tsv --genome genome.fa --enhancer-window 0 --promoter-window 0 --out ds"
    bare = put({"bare.tsv": tsv(rows)})
    for verb, shell, words in (
        ("evaluate", "episode evaluate run ds --out out", "no pair is labelled"),
        ("train", "episode train ds --out out", "label"),
        ("compare", "episode compare protocol.toml ds --methods distance --workers 1 --out out", "label"),
    ):
        yield Case(
            TOPIC,
            f"no label, {verb}",
            needs=("run", "genome.fa", "protocol.toml"),
            prepare=bare,
            shell=f"{build} && {shell}",
            must="either" if verb == "evaluate" else "refuse",
            words=(words,),
            says=(words,),
            leaves="^(ds|out)",
        )
    far = {f"{side}_{end}" for side in ("enhancer", "promoter") for end in ("start", "end")}
    mouse = [
        {key: int(str(value)) + 10**7 if key in far else value for key, value in row.items()}
        for row in training_rows()[:60]
    ]
    argv = ("data", "build", "mouse.tsv", *GENOME, "--out", "out")
    some = put({"mouse.tsv": tsv([*mouse, *training_rows()[:3]])})
    genome_words = ("right genome|another genome|other genome|build|is it|wrong genome",)
    yield Case(TOPIC, "most rows miss the genome", argv, ("genome.fa",), some, "refuse", genome_words)
    yield Case(
        TOPIC,
        "most rows miss the genome, reported",
        (*argv, "--outside-genome", "report"),
        ("genome.fa",),
        some,
        says=genome_words,
    )
    chrom = put({"mouse.tsv": tsv([{**row, "enhancer_chrom": "1", "promoter_chrom": "1"} for row in ROWS])})
    yield Case(TOPIC, "chr is missing", argv, ("genome.fa",), chrom, "refuse", (r"chr1",))
