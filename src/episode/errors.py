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

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "SHOWN",
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "EpisodeError",
    "GenomeError",
    "InputError",
    "Problem",
]

SHOWN = 20
"""Problems that a message shows."""


class EpisodeError(Exception):
    """Anything the user can correct; its text is complete without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place of one file.

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
    """

    file: str
    need: str
    row: int | None = None
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}:{self.row}"
        what = "" if self.column is None else f"{self.column} "
        came = "" if self.value is None else f"{self.value!r} "
        return f"{where}: {what}{came}{self.need}"


class InputError(EpisodeError):
    """One or more problems in the user's files.

    Parameters
    ----------
    problems : sequence of Problem
        All problems found, in file order; the message shows the first 20 and the count.
    hint : str, optional
        What to do about them, shown last.
    total : int, optional
        Number of problems, where `problems` holds the first ones only.
    """

    def __init__(self, problems: Sequence[Problem], hint: str | None = None, total: int | None = None) -> None:
        if not problems:
            raise ValueError("an InputError needs at least one problem")
        self.problems = tuple(problems)
        self.hint, self.total = hint, total
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        total = len(self.problems) if total is None else total
        if total > len(lines):
            lines.append(f"... and {total - len(lines)} more; {total} problems in all")
        elif total > 1:
            lines.append(f"{total} problems in all")
        if hint:
            lines.append(f"hint: {hint}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:
        """Pickle by what it was made of, not by its text: it travels between processes."""
        return type(self), (self.problems, self.hint, self.total)


class ConfigError(EpisodeError):
    """An unknown key or an impossible value in a configuration."""


class GenomeError(EpisodeError):
    """A genome file that is missing, damaged, or not the expected build."""


class DatasetError(EpisodeError):
    """A dataset folder that is missing, damaged, or of another format version."""


class CheckpointError(EpisodeError):
    """A run folder that is missing, damaged, or of another format version."""
