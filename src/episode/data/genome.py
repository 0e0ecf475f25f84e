"""Reference sequence: FASTA (plain or BGZF) and 2bit behind one small interface.

A genome is read in full once, to hash, index and check it. What was found is kept in a cache folder of the user, never
beside the genome. Knows nothing about pairs or windows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from episode.data.fasta import FastaIndex, index_fasta, is_bgzf, open_fasta
from episode.data.twobit import SIGNATURES, open_twobit
from episode.errors import EpisodeError, GenomeError
from episode.files import ReadAt, atomic_file, file_sha256

__all__ = ["Genome", "open_genome"]

_OTHERS = {
    b"\x1f\x8b": "is ordinary gzip, which has no index",
    b"PK\x03\x04": "is a zip archive",
    b"BZh": "is packed by bzip2",
    b"\xfd7zXZ": "is packed by xz",
    b"\x28\xb5\x2f\xfd": "is packed by zstd",
    b"\xef\xbb\xbf": "begins with a byte-order mark",
    b"@": "looks like FASTQ or SAM",
    b";": "begins with a comment",
}
"""What files that are no genome begin with."""
_SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file must show in its time of change."""
_log = logging.getLogger("episode")


@dataclass(frozen=True)
class Genome:
    """An open genome file.

    Parameters
    ----------
    path : Path
        The genome file.
    lengths : dict of str to int
        Bases by chromosome, in file order.
    sha256 : str
        Of the file's bytes.
    """

    path: Path
    lengths: dict[str, int]
    sha256: str
    _read: Callable[[str, int, int], str]

    def fetch(self, chrom: str, start: int, end: int) -> str:
        """Return the bases of an interval that lies on the chromosome, lower case kept.

        Parameters
        ----------
        chrom : str
            A key of `lengths`.
        start, end : int
            0-based half-open, ``0 <= start <= end <= lengths[chrom]``.

        Raises
        ------
        GenomeError
            If the interval is not on the genome, or the file cannot be read there.
        """
        length = self.lengths.get(chrom)
        if length is None:
            raise GenomeError(f"{self.path}: has no chromosome {chrom!r}")
        if not 0 <= start <= end <= length:
            raise GenomeError(f"{self.path}: {chrom}:{start}-{end} is not within {chrom}:0-{length}")
        if start == end:
            return ""
        try:
            bases = str(self._read(chrom, start, end))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise GenomeError(f"{self.path}: {chrom}:{start}-{end} cannot be read ({error})") from None
        if len(bases) != end - start:
            raise GenomeError(f"{self.path}: {chrom}:{start}-{end} gave {len(bases)} bases: is the file damaged?")
        return bases


def open_genome(path: Path | str) -> Genome:
    """Open a genome.

    Parameters
    ----------
    path : Path or str
        FASTA, plain or BGZF (bgzip), or 2bit; distinguished by content.

    Raises
    ------
    GenomeError
        If the file is missing, empty, ordinary gzip, not a genome, or damaged.
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode  # before it is opened, since opening a pipe waits for its other end
        if stat.S_ISDIR(kind):
            raise GenomeError(f"{path}: is a folder; needs a FASTA or 2bit file")
        if not stat.S_ISREG(kind):
            raise GenomeError(f"{path}: is a pipe or a device; needs a file, as its bases are read out of order")
        return _open(ReadAt(path))
    except FileNotFoundError:
        raise GenomeError(f"{path}: no such file") from None
    except OSError as error:
        raise GenomeError(f"{path}: cannot be read ({error.strerror or error})") from None
    except GenomeError:
        raise
    except EpisodeError as error:
        raise GenomeError(str(error)) from None


def _open(file: ReadAt) -> Genome:
    path = file.path
    head = file.read(0, min(18, file.size))
    if head[:4] in SIGNATURES:
        lengths, read = open_twobit(file)
        return Genome(path, lengths, _hashed(file, lambda: {"sha256": file_sha256(path)})["sha256"], read)
    if not (head.startswith(b">") or is_bgzf(head)):
        came = "is empty" if not head else "starts with neither '>' nor a 2bit signature"
        came = next((other for begin, other in _OTHERS.items() if head.startswith(begin)), came)
        hint = f". Convert it with: gunzip -c {path.name} | bgzip > {path.name.removesuffix('.gz')}.bgz"
        hint = hint if head[:2] == b"\x1f\x8b" else ""
        raise GenomeError(f"{path}: {came}; needs FASTA (plain or BGZF) or 2bit{hint}")

    def indexed() -> dict[str, Any]:
        index, sha256 = index_fasta(file)
        return {"sha256": sha256, **index.content()}

    found = _hashed(file, indexed)
    index = FastaIndex.from_content(found)
    lengths = {name: record.length for name, record in index.records.items()}
    return Genome(path, lengths, found["sha256"], open_fasta(file, index))


def _hashed(file: ReadAt, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the cache holds of this state of a file, or find it.

    The state is known by place, inode, size and times. The time of the last change of the inode is the system's own:
    nobody can set it back. It has a grain, so a file that has just changed is not trusted to show its next change.
    """
    entry = _entry(file)
    with contextlib.suppress(OSError, ValueError):
        check, _, text = entry.read_text(encoding="utf-8").partition("\n") if entry else ("", "", "")
        if check == hashlib.sha256(text.encode()).hexdigest():
            return dict(json.loads(text))
    found = find()
    now = file.path.stat()
    if _state(now)[:3] != _state(file.status)[:3]:  # a new link or other rights are no change of content
        raise GenomeError(f"{file.path}: was changed while it was read; wait until it is complete")
    if entry and time.time_ns() - max(now.st_ctime_ns, now.st_mtime_ns) > _SETTLED:
        text = json.dumps(found)
        try:
            with atomic_file(entry) as temporary:
                temporary.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")
        except OSError as error:
            why = error.strerror or error
            _log.warning("%s: cannot be written (%s), so each command reads the genome in full", entry.parent, why)
    return found


def _entry(file: ReadAt) -> Path | None:
    """Return the file of the cache for this state of a file; None without a place for a cache.

    It lies in ``$XDG_CACHE_HOME/episode``, by default ``~/.cache/episode``.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        _log.warning("there is no home folder and XDG_CACHE_HOME is not set, so each command reads the genome in full")
        return None
    key = b"\x1f".join([os.fsencode(file.path.resolve()), repr(_state(file.status)).encode()])
    return cache / "episode" / "genomes" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
