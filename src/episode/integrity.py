"""What ties the files of a folder together: the SHA-256 of each of them, and of what the manifest itself says.

The manifest (``run.json``, ``manifest.json``) is written last and holds `files` and `content_sha256`. A change of any
of them by hand, by a bad disk or by half a copy is told when the folder is opened. Who wants to deceive can compute
them again. Knows nothing of what the files hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from episode.errors import EpisodeError
from episode.files import file_sha256, write_json
from episode.schema import Model, absent

__all__ = ["Seal", "check_seal", "write_sealed"]

_log = logging.getLogger("episode")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Seal(Model):
    """The part of a manifest that ties the files of its folder together; absent in folders of older versions."""

    files: dict[str, Sha256] | None = Field(default=None, exclude_if=absent)
    """SHA-256 of each other file of the folder."""
    content_sha256: Sha256 | None = Field(default=None, exclude_if=absent)
    """SHA-256 of all else in this file: of its JSON with sorted keys and without blanks."""


def write_sealed(path: Path, manifest: Model, names: Iterable[str]) -> None:
    """Write a manifest as `episode.schema.write_model` does, with the seal of the named files that are beside it."""
    content = manifest.model_dump(mode="json", by_alias=True)
    content["files"] = {name: file_sha256(path.parent / name) for name in names if (path.parent / name).exists()}
    write_json(path, content | {"content_sha256": _content_sha256(content)})


def check_seal(
    path: Path, content: Any, names: Iterable[str], *, old: bool, remedy: str, error: type[EpisodeError]
) -> None:
    """Compare the files of a folder with its seal.

    Parameters
    ----------
    path : Path
        The manifest.
    content
        All that it holds, as plain data; what is there of a `Seal` is valid.
    names : iterable of str
        Files that are read of the folder; others do not matter.
    old : bool
        The version that wrote the manifest wrote no seals: then a missing one is a warning.
    remedy : str
        What the user can do.

    Raises
    ------
    EpisodeError
        Of type `error`, if the seal is missing, or a file is missing, was added, or differs.
    """
    folder, files = path.parent, content.get("files")
    if files is None or content.get("content_sha256") is None:
        if not old:
            raise error(f"{path}: lacks the checksums of its files; {remedy}")
        _log.warning(
            "%s: was written by an older EPIsode, without checksums: whether its files were changed is not known",
            folder,
        )
        return
    if content["content_sha256"] != _content_sha256(content):
        raise error(f"{path}: was changed after it was written; {remedy}")
    for name in names:
        place = folder / name
        if name not in files and place.exists():
            raise error(f"{place}: was added after {path.name} was written; remove it")
        if name in files and not place.is_file():
            raise error(f"{place}: no such file; {remedy}")
        if name in files and file_sha256(place) != files[name]:
            raise error(f"{place}: was changed after it was written; {remedy}")


def _content_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 of all of a manifest but this number itself."""
    rest = {key: value for key, value in content.items() if key != "content_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
