"""Every error that EPIsode raises on purpose.

    EpisodeError                 shown to the user without a traceback; the command ends with exit code 2
    ├── InputError               files the user gave: carries every problem found, with file, row, column, value, need
    ├── ConfigError              an unknown key or an impossible value in a configuration
    ├── GenomeError              a genome file that is missing, damaged, or not the build that was expected
    ├── DatasetError             a dataset folder that is missing, damaged, or of another format version
    └── CheckpointError          a run folder that is missing, damaged, or of another format version

This module knows nothing about what reads or writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "OTHERS",
    "SHOWN",
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "EpisodeError",
    "GenomeError",
    "InputError",
    "Problem",
    "group_problems",
]

SHOWN = 20
"""Lines of problems that a message shows."""
OTHERS = 5
"""Further rows with the same problem that a line names."""


class EpisodeError(Exception):
    """Anything the user can correct; its text is complete without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place of one file, or in several rows of it.

    Parameters
    ----------
    need : str
        What was wrong and what was needed, as a sentence without a full stop.
    row : int or None
        1-based line number in the file (the header is line 1), None if the problem is the whole file's.
    column : str or None
        Column name, None if the problem is not one column's.
    value : str or None
        The offending value as it stands in the file.
    more : int
        Number of further rows of the file with the same problem.
    others : tuple of (int, str or None)
        Row and value of the first of them.
    """

    file: str
    need: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    more: int = 0
    others: tuple[tuple[int, str | None], ...] = ()

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}:{self.row}"
        what = "" if self.column is None else f"{self.column} "
        came = "" if self.value is None else f"{self.value!r} "
        return f"{where}: {what}{came}{self.need}{self._same()}"

    def _same(self) -> str:
        """Name further rows, with their values where these differ."""
        if not self.more:
            return ""
        rows = [f"{row}" if value == self.value else f"{row} ({value!r})" for row, value in self.others]
        if self.more > len(rows):
            rows.append("...")
        return f"; the same in {self.more:,} more row{'s' if self.more > 1 else ''}: {', '.join(rows)}"


def group_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Join the problems of rows that differ in row and value only, in the order of their first rows.

    Numbers and quoted text in `Problem.need` may differ too: the first one stands for all.
    """
    groups: dict[tuple[str, str | None, str], list[Problem]] = {}
    for number, problem in enumerate(problems):
        alone = problem.row is None
        kind = str(number) if alone else re.sub(r"'[^']*'|\"[^\"]*\"|[0-9]+", "", problem.need)
        groups.setdefault((problem.file, problem.column, kind), []).append(problem)
    return [_joined(group) for group in groups.values()]


def _joined(group: Sequence[Problem]) -> Problem:
    first, *rest = group
    if not rest:
        return first
    others = list(first.others)
    for problem in rest[:OTHERS]:
        others += [(problem.row or 0, problem.value), *problem.others]
    more = sum(problem.more for problem in group) + len(rest)
    return replace(first, more=more, others=tuple(others[:OTHERS]))


class InputError(EpisodeError):
    """One or more problems in the user's files.

    Parameters
    ----------
    problems : sequence of Problem
        All problems found, in file order, or the first ones. The same problem of several rows becomes one line; the
        message shows the first 20 lines and the number of problems.
    hint : str, optional
        What to do about them, as a sentence; shown first.
    total : int, optional
        Number of problems, where `problems` holds the first ones only.
    """

    def __init__(self, problems: Sequence[Problem], hint: str | None = None, total: int | None = None) -> None:
        if not problems:
            raise ValueError("an InputError needs at least one problem")
        self.problems = tuple(group_problems(problems))
        self.hint, self.total = hint, total
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        told = sum(1 + problem.more for problem in self.problems[:SHOWN])
        total = sum(1 + problem.more for problem in self.problems) if total is None else total
        if total > told:
            lines.append(f"... and {total - told:,} more; {total:,} problems in all")
        elif len(lines) > 1:
            lines.append(f"{total:,} problems in all")
        super().__init__("\n".join([hint, *lines] if hint else lines))

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:
        """Pickle by what it was made of, not by its text: it travels between processes."""
        return type(self), (self.problems, self.hint, self.total)


class FolderInUse(EpisodeError):
    """Another process works in the folder."""


class ConfigError(EpisodeError):
    """An unknown key or an impossible value in a configuration."""


class GenomeError(EpisodeError):
    """A genome file that is missing, damaged, or not the expected build."""


class DatasetError(EpisodeError):
    """A dataset folder that is missing, damaged, or of another format version."""


class CheckpointError(EpisodeError):
    """A run folder that is missing, damaged, or of another format version."""
