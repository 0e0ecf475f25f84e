"""What a job that can be resumed belongs to: its identity, and a clear refusal where another one is asked for.

An identity is plain data, kept in JSON beside the work. Knows nothing about what jobs do, nor where they keep it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from episode.errors import EpisodeError

__all__ = ["Identity", "check_identity"]

Identity = dict[str, object]
"""Plain data that JSON holds; its keys are the job's own."""
SHOWN = 60
"""Max characters of a value that the message shows."""
_ABSENT = object()


def check_identity(
    held: Mapping[str, object],
    asked: Mapping[str, object],
    *,
    where: str,
    need: str,
    names: Mapping[str, str] | None = None,
    error: type[EpisodeError] = EpisodeError,
) -> None:
    """Refuse to resume a job of another identity.

    Parameters
    ----------
    held : mapping
        Identity of the job that is there, as read from JSON.
    asked : mapping
        Identity of the job that is asked for; only its keys are compared.
    where : str
        How the message begins, up to the word "another", such as ``"out: was begun with"``.
    need : str
        How it ends: what the user can do.
    names : mapping of str to str, optional
        What the message calls a key, if not by itself.

    Raises
    ------
    EpisodeError
        It names everything that differs, with both values where they are short.
    """
    found = [
        (names or {}).get(key, key) + rest
        for key, value in json.loads(json.dumps(asked)).items()
        for rest in _differences(held.get(key, _ABSENT), value)
    ]
    if found:
        raise error(f"{where} another {', '.join(found)}; {need}")


def _differences(held: object, asked: object) -> Iterator[str]:
    """Yield what differs: the keys on the way to it, and both values."""
    if isinstance(held, dict) and isinstance(asked, dict) and held.keys() == asked.keys():
        for key in asked:
            yield from (f".{key}{rest}" for rest in _differences(held[key], asked[key]))
    elif held is _ABSENT or held != asked:
        was = "unknown" if held is _ABSENT else repr(held)
        shown = max(len(was), len(repr(asked))) <= SHOWN
        yield f" ({was}, not {asked!r})" if shown else ""
