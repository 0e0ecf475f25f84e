"""What is long in the making, made once a session: by the first worker that asks, while the others wait for it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["made_once", "use_folder"]

_folders: list[Path] = []


def use_folder(folder: Path) -> None:
    """Say where it lies: one folder for all workers of a session."""
    folder.mkdir(exist_ok=True)
    _folders[:] = [folder]


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills; one that it left unfinished is made again."""
    (folder,) = _folders
    path, whole = folder / name, folder / f"{name}.whole"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(path, ignore_errors=True)
            make(path)
            whole.touch()
    return path
