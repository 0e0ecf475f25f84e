"""Reading JSON and TOML that anyone may have written: bounded, and strict where parsers are lenient.

A byte-order mark is skipped. Refused, with the name of the file: text that is not UTF-8, a key that occurs twice in one
object, NaN and infinite numbers, whole numbers of very many digits, nesting without end, and files of a size that no
such file has. Knows nothing of what the documents mean.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from episode.errors import EpisodeError
from episode.limits import INTEGER_DIGITS, JSON_BYTES

__all__ = ["json_content", "read_json", "read_lines", "read_text", "toml_content"]

DOTS = 1000
"""Most dots in a line of TOML, where they part keys."""


def read_text(path: Path, form: str = "JSON", *, error: type[EpisodeError] = EpisodeError) -> str:
    """Read a text file; `form` is what it should be, for the message.

    Raises
    ------
    EpisodeError
        Of type `error`, if the file cannot be read, is too large or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise error(f"{path}: is a pipe or a device; needs a file")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            content = b"" if size > JSON_BYTES else stream.read(JSON_BYTES + 1)
        if max(size, len(content)) > JSON_BYTES:
            raise error(f"{path}: not valid {form} (more than {JSON_BYTES:,} bytes)")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not valid {form} (no UTF-8 at byte {problem.start})") from None
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}") from None


def read_json(path: Path, *, error: type[EpisodeError] = EpisodeError) -> Any:
    """Read a JSON file as plain data.

    Raises
    ------
    EpisodeError
        Of type `error`, if it cannot be read or breaks a rule of this module.
    """
    return json_content(read_text(path, error=error), where=str(path), error=error)


def read_lines(path: Path, *, error: type[EpisodeError] = EpisodeError) -> list[str]:
    """Read a file of one JSON document a line, with their ends."""
    return io.StringIO(read_text(path, error=error), newline="\n").readlines()


def json_content(text: str, *, where: str, error: type[EpisodeError] = EpisodeError, infinite: bool = False) -> Any:
    """Return what JSON text holds, as plain data; `infinite` accepts NaN and infinite numbers.

    Raises
    ------
    EpisodeError
        Of type `error`, if it breaks a rule of this module; the message begins with `where`.
    """
    try:
        if infinite:
            return json.loads(text, object_pairs_hook=_distinct, parse_int=_whole)
        return json.loads(
            text, object_pairs_hook=_distinct, parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise error(f"{where}: not valid JSON (nested too deeply)") from None
    except ValueError as problem:
        raise error(f"{where}: not valid JSON ({problem})") from None


def toml_content(text: str, *, where: str, error: type[EpisodeError] = EpisodeError) -> Any:
    """Return what TOML text holds, as plain data.

    Raises
    ------
    EpisodeError
        Of type `error`, if it breaks a rule of TOML or of this module; the message begins with `where`.
    """
    if any(line.count(".") > DOTS for line in text.splitlines()):  # each of them costs as much as all before it
        raise error(f"{where}: not valid TOML (nested too deeply)")
    try:
        content = tomllib.loads(text)
        json.dumps(content, default=str)  # dotted keys nest without the parser's notice
        return content
    except RecursionError:
        raise error(f"{where}: not valid TOML (nested too deeply)") from None
    except ValueError as problem:
        digits = "Exceeds the limit" in str(problem)
        what = "a number of too many digits" if digits else str(problem)
        raise error(f"{where}: not valid TOML ({what})") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return content


def _whole(text: str) -> int:
    if len(text) > INTEGER_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is not finite")
    return value
