"""The words of the project: old phrases, what stands now, and a check that the old ones stay out.

`WORDS` is the one list; `docs/glossary.md` prints it as "Words we use". `CLEAN` names the files and folders that are
free of old words; it only grows. To see what is left in a folder: ``python tests/test_words.py src/episode/train``.
Knows nothing about what a page says, except that its links lead somewhere.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
HEADING = "## Words we use"
SUFFIXES = {".py", ".md", ".toml", ".html", ".js", ".css"}

CLEAN: tuple[str, ...] = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
    "benchmarks/README.md",
    "benchmarks/journal.md",
    "benchmarks/read_out.py",
    "benchmarks/speed.py",
    "benchmarks/costs/epoch.py",
    "benchmarks/costs/figures.py",
    "benchmarks/costs/launch.py",
    "benchmarks/costs/page.py",
    "benchmarks/costs/start.py",
    "benchmarks/costs/worlds.py",
    "src/episode/checkpoint.py",
    "src/episode/cli/compare.py",
    "src/episode/cli/data.py",
    "src/episode/cli/demo.py",
    "src/episode/cli/encode.py",
    "src/episode/cli/evaluate.py",
    "src/episode/cli/explain.py",
    "src/episode/cli/main.py",
    "src/episode/cli/options.py",
    "src/episode/cli/predict.py",
    "src/episode/cli/report.py",
    "src/episode/cli/simulate.py",
    "src/episode/cli/train.py",
    "src/episode/compare",
    "src/episode/config.py",
    "src/episode/data",
    "src/episode/demo.py",
    "src/episode/dna.py",
    "src/episode/encode",
    "src/episode/episodes",
    "src/episode/errors.py",
    "src/episode/evaluate",
    "src/episode/explain",
    "src/episode/figure_style.py",
    "src/episode/files.py",
    "src/episode/inference",
    "src/episode/identity.py",
    "src/episode/losses",
    "src/episode/metrics",
    "src/episode/model",
    "src/episode/predict",
    "src/episode/report",
    "src/episode/schema.py",
    "src/episode/seeds.py",
    "src/episode/simulate",
    "src/episode/threads.py",
    "src/episode/train",
    "tests/compare",
    "tests/e2e/test_compare.py",
    "tests/evaluate",
    "tests/metrics",
    "tests/report",
)
"""Files and folders without an old word. Add yours once it is; never take one away."""
PAGES = sorted(path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks") for path in folder.glob("*.md"))
LEGITIMATE = (
    "needs at least 3 pairs, fitted by least squares",
    "no better than chance, and absent by chance alone",
    "the training set, a training pair, each training cell line, one training step",
    "broad bins, a page fault, the default, two stems of the same layout",
    "a family of factors; rows of the table; families of motifs",
    "the column greatest_effect of bases.tsv, the keys greatest_gradient_gap and distinct_laid_out",
    "so many that memory runs out; not so many",
    "BED goes to a file; it wants to be read",
)
"""Sentences in which no old phrase may be found."""


class Word(NamedTuple):
    """An old phrase and what stands now.

    Parameters
    ----------
    old, now : str
        `old` is an example that the pattern finds.
    pattern : str
        Regular expression of the old phrase in `plain` text, by default `old` itself. It meets whole words only, and
        case does not matter.
    """

    old: str
    now: str
    pattern: str = ""


WORDS: tuple[Word, ...] = (
    # statistics
    Word("share of positives", "prevalence", "shares? of (the )?positives?"),
    Word("least", "smallest, lowest; min in names", "(?<!at )least(?![ -]squares)"),
    Word("greatest", "largest, highest; max in names", "greatest(?! (effect|gradient gap))"),
    Word("lesser", "smaller"),
    Word(
        "the chance that",
        "the probability that",
        "with (this |that )?chance|a chance (of|between)|(the|as) chance (of|that)",
    ),
    Word("departure", "deviation", "departures?"),
    Word(
        "spread of U_I",
        "standard deviation",
        "(mean|level|centre)(,| and) spread|bootstrap spread|hinge on (the )?spread|spread of (U I|R [ES]|supports)",
    ),
    Word(
        "the interval holds the oracle",
        "the interval covers the oracle",
        "intervals? (of R [ES] )?holds?|holds? the oracle",
    ),
    Word("too bold", "overconfident"),
    Word("too timid", "underconfident"),
    Word(
        "cannot be told from",
        "does not differ significantly from; the interval includes 0",
        "(be|is|are|not) told from",
    ),
    Word("told apart", "distinguished", "(tells?|told|telling) (\\w+ )*apart"),
    Word("tells nothing of", "carries no information about", "tells? (nothing|little) (of|about)"),
    Word("flatters", "is too optimistic", "flatter(s|ed|ing)?"),
    Word("kinder (of a figure)", "more optimistic", "kinder"),
    Word("luck (of a seed)", "variation between seeds", "luck"),
    Word("by a hair", "barely"),
    Word("foretell", "predict", "foretells?"),
    # training and comparing
    Word(
        "a training",
        "a training run",
        "(an?|one|each|every|whole|single|another|second|short|(un)?finished|interrupted|uninterrupted) training"
        "(?=[.,;:)]| (that|which|was|is|has|stopped|may|of|from|by|goes|ends|can|in|with|into) | ?$)",
    ),
    Word("trainings", "training runs"),
    Word("rival", "baseline; other method", "rivals?"),
    Word(
        "learned rows (of a comparison)",
        "method",
        "(ablation|few-label|learned|one-number|sequence-only) rows?|rows (and|or) (seeds|groups)",
    ),
    Word("family of methods", "runner", "famil(y|ies) of (methods?|rows?)|row of (a|the|one) family"),
    Word("not to be had in use", "not available at prediction time", "to be had"),
    Word("at hand", "available"),
    Word("lean on", "rely on", "lean(s|ed|ing)? on"),
    Word("hang on", "depend on", "hangs? on"),
    Word("do harm", "make it worse", "(do|does|did) harm"),
    Word("earn its place", "improve the result", "earn(s|ed)? (its|their) (place|keep)"),
    Word("what the data can bear", "the limit that the data set", "can bear|borne out"),
    Word("stand-in", "surrogate (model); mock (program)", "stand-ins?"),
    Word("unlike anything in training", "outside the range of training", "unlike anything"),
    Word("settle anew", "be fitted again", "settles? anew"),
    Word("dealt (roles)", "assigned", "dealt"),
    Word("lends", "provides", "lends?"),
    # pairs, sequence, model
    Word("laid out (of a pair)", "in pair orientation; arranged", "(?<!distinct )laid out"),
    Word("both layouts", "both orientations", "(both|either|two|each) layouts?|layout of (a|the) pair"),
    Word(
        "read both ways round",
        "read in both orientations",
        "both ways (round|of reading)|(averaged|scored|read) (over )?both ways",
    ),
    Word("bins turned round", "bin order reversed", "turned round"),
    Word("road", "path", "roads?"),
    Word("planted world, truth", "simulated", "planted"),
    Word("planted site", "inserted site", "planted sites?"),
    Word("the whole way", "end to end", "whole way"),
    Word("DNA letters", "bases", "(DNA|four|known|own|whose|their) letters?|letters? (of DNA|other than|are not)"),
    Word("words of four letters", "4-mers", "words? of (four|DNA)|lines? of words|as many words"),
    Word("stem that learns", "trainable stem", "stems? (that|which) learns?"),
    Word("learn on", "is fine-tuned", 'learns? on(?= *[.,;:)"]| ?$)'),
    Word("charged for its length", "corrected for its length", "charged (for|nothing|less|more)|is charged"),
    Word("code table", "element cache", "code ?tables?"),
    Word("order of a prediction", "request", "order of a prediction|prediction's order"),
    Word("material (of training)", "data", "material"),
    Word("the way back", "the backward pass", "way back"),
    # files and processes
    Word("anew", "again; from the start"),
    Word("go on with", "resume; continue", "go(es)? on with|gone on|going on with|goes on where"),
    Word("is there already", "exists", "(is|are|was|were) there already"),
    Word("is at work", "running", "(is|are|was|were) at work"),
    Word("shared out", "distributed; split", "shared? out|sharing out|shares? the work out|shares \\w+ out"),
    Word("is sound (of a file)", "valid", "(is|are|was|not|segments?) sound|sound (segments?|and)"),
    Word("as good as absent", "treated as missing"),
    Word("for want of", "for lack of; out of (memory)"),
    Word("mend", "fix; correct", "mend(s|ed|ing)?"),
    Word("fault (of a table)", "error; problem", "(?<!page )faults?"),
    Word("go before (an option)", "take precedence over", "go(es)? before|going before"),
    Word("telephone", "small screen", "telephones?"),
    Word("door (to a package)", "entry point", "doors?"),
    # prose
    Word("look at this:", "warning:", "look at this"),
    Word("so many", "N", "(?<!not )so many(?! (that|of))"),
    Word("is told in (a page)", "described in", "(is|are|was) told in|stands? in `*docs"),
    Word("stands in training", "occurs in training", "stands? (in|among) (its|the)? ?training|stands? twice"),
    Word("heed", "use; follow", "heed(s|ed|ing)?"),
    Word("stranger", "unknown name", "strangers?"),
    Word("nought", "zero", "noughts?"),
    Word("for nothing", "at no extra cost"),
    Word("speak for, of", "represent; refer to", "speaks? (for|of)|speaking of"),
    Word(", save on", "except", ", save (on|for|where|in|that)"),
    Word("read off", "parse from; estimate from", "reads? off"),
    Word("wants (meaning needs)", "needs", "wants(?! to)"),
    Word("say : callable", "report", "say(?= ?: callable| ?= ?print)"),
)
"""Old phrase, what stands now, and how the old one is found."""


class Hit(NamedTuple):
    """An old phrase in a file."""

    path: Path
    line: int
    word: Word
    found: str

    def __str__(self) -> str:
        """Say where it is and what stands now."""
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.found!r}; now: {self.word.now}"


def plain(text: str) -> tuple[str, list[int]]:
    """Join the lines of a text by single spaces, so that a phrase is found over line ends.

    Underscores and comment marks become spaces and the quotes between two halves of a Python string go, so a name such
    as ``bin_order`` and a message over two lines are read like prose.

    Returns
    -------
    str
    list of int
        Where each line starts in it.
    """
    text = re.sub(r'"[ ]*\n[ ]*f?"', "\n", text)
    joined, starts = "", []
    for line in text.split("\n"):
        starts.append(len(joined))
        words = re.sub(r"[\s_#]+", " ", line).strip()
        joined += f"{words} " if words else ""
    return joined, starts


def found_in(text: str) -> Iterator[tuple[int, Word, str]]:
    """Find the old phrases of a text: line, word and what stands there."""
    joined, starts = plain(text)
    for word in WORDS:
        for match in re.finditer(rf"(?<![A-Za-z])(?:{word.pattern or word.old})(?![A-Za-z])", joined, re.IGNORECASE):
            yield bisect_right(starts, match.start()), word, match.group()


def hits(path: Path) -> list[Hit]:
    """Find the old phrases of a file; the glossary's own list of them does not count."""
    text = path.read_text(encoding="utf-8")
    if path == GLOSSARY:
        text = text.split(HEADING)[0]
    return [Hit(path, line, word, found) for line, word, found in found_in(text)]


def files(area: str) -> list[Path]:
    """List the texts of a file or folder."""
    path = ROOT / area
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES)
    assert found, f"{area}: no such text"
    return found


def table() -> str:
    """Write the list as the glossary prints it."""
    return "\n".join(["| old | now |", "|---|---|", *(f"| {word.old} | {word.now} |" for word in WORDS)])


@pytest.mark.parametrize("area", CLEAN)
def test_no_old_phrase(area: str) -> None:
    found = [str(hit) for path in files(area) for hit in hits(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.old)
def test_every_old_phrase_is_found(word: Word) -> None:
    assert word in [found for _, found, _ in found_in(word.old)]


@pytest.mark.parametrize("sentence", LEGITIMATE)
def test_ordinary_uses_are_let_be(sentence: str) -> None:
    assert list(found_in(sentence)) == []


def test_phrases_are_found_over_line_ends_and_in_names() -> None:
    text = '"""A world of planted\n    truth."""\n# laid\n# out\nside = laid_out(x, "share of "\n    f"positives")\n'
    assert sorted((line, found) for line, _, found in found_in(text)) == [
        (1, "planted"),
        (3, "laid out"),
        (5, "laid out"),
        (5, "share of positives"),
    ]


def test_the_list_is_long_enough_and_printed_in_the_glossary() -> None:
    assert len({word.old for word in WORDS}) == len(WORDS) >= 60
    assert GLOSSARY.read_text(encoding="utf-8").split(HEADING)[1].strip().endswith(table())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


if __name__ == "__main__":
    print("\n".join(str(hit) for area in sys.argv[1:] for path in files(area) for hit in hits(path)))
