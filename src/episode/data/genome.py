"""Reference sequence: FASTA (plain or BGZF, by pysam) and 2bit (by py2bit) behind one small interface.

Index files are never needed beside the genome and never written there: they live in a cache folder of the
user's. Knows nothing about pairs or windows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from episode.documents import read_json
from episode.errors import EpisodeError, GenomeError
from episode.files import atomic_file, file_sha256, write_json

__all__ = ["Genome", "open_genome"]

_GZIP = b"\x1f\x8b"
_TWOBIT = (b"\x1aA\x27\x43", b"\x43\x27\x41\x1a")


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
        If the file is missing, empty, ordinary gzip, or not a genome.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(18)
    except FileNotFoundError:
        raise GenomeError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise GenomeError(f"{path}: is a folder; needs a FASTA or 2bit file") from None
    except OSError as error:
        raise GenomeError(f"{path}: cannot be read ({error.strerror})") from None
    if head[:4] in _TWOBIT:
        return _open_twobit(path)
    if head[:2] == _GZIP:
        if not _is_bgzf(head):
            raise GenomeError(
                f"{path}: is ordinary gzip, which has no index; needs plain FASTA, BGZF or 2bit. "
                f"Convert it with: gunzip -c {path.name} | bgzip > {path.name.removesuffix('.gz')}.bgz"
            )
    elif not head.startswith((b">", b";")):
        came = "is empty" if not head else "starts with neither '>' nor a 2bit signature"
        raise GenomeError(f"{path}: {came}; needs FASTA (plain or BGZF) or 2bit")
    return _open_fasta(path, compressed=head[:2] == _GZIP)


def _is_bgzf(head: bytes) -> bool:
    """Tell BGZF (gzip with the extra field "BC") from ordinary gzip by the first 18 bytes."""
    return len(head) >= 18 and bool(head[3] & 4) and head[12:14] == b"BC"


def _open_fasta(path: Path, *, compressed: bool) -> Genome:
    import pysam

    folder = _entry(path)
    fai, gzi = folder / "genome.fai", folder / "genome.gzi"
    if not fai.exists() or (compressed and not gzi.exists()):
        try:
            with contextlib.ExitStack() as stack:
                options = ["--fai-idx", str(stack.enter_context(atomic_file(fai)))]
                if compressed:
                    options += ["--gzi-idx", str(stack.enter_context(atomic_file(gzi)))]
                pysam.faidx(str(path), *options)
        except pysam.SamtoolsError:
            raise GenomeError(
                f"{path}: cannot be indexed as FASTA: it holds no sequence, has lines of unequal length, or is damaged"
            ) from None
    try:
        handle = pysam.FastaFile(
            str(path), filepath_index=str(fai), filepath_index_compressed=str(gzi) if compressed else None
        )
    except (OSError, ValueError) as error:
        raise GenomeError(f"{path}: cannot be read as FASTA ({error})") from None
    lengths = dict(zip(handle.references, map(int, handle.lengths), strict=True))
    if not any(lengths.values()):
        raise GenomeError(f"{path}: holds no sequence")
    return Genome(path, lengths, _sha256(path, folder), handle.fetch)


def _open_twobit(path: Path) -> Genome:
    import py2bit

    try:
        handle: Any = py2bit.open(str(path), True)
        lengths = {str(name): int(length) for name, length in handle.chroms().items()}
    except (RuntimeError, OSError, AttributeError) as error:
        raise GenomeError(f"{path}: cannot be read as 2bit ({error})") from None
    if not lengths:
        raise GenomeError(f"{path}: holds no sequence")
    return Genome(path, lengths, _sha256(path, _entry(path)), handle.sequence)


def _entry(path: Path) -> Path:
    """Return the cache folder of one state of one file: another size or time of change is another folder.

    It lies in ``$XDG_CACHE_HOME/episode``, by default ``~/.cache/episode``.
    """
    status = path.stat()
    key = f"{path.resolve()}\x1f{status.st_size}\x1f{status.st_mtime_ns}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "episode" / "genomes" / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenomeError(
            f"{folder}: the cache folder cannot be written ({error.strerror}); set XDG_CACHE_HOME to another"
        ) from None
    return folder


def _sha256(path: Path, folder: Path) -> str:
    note = folder / "sha256.json"
    with contextlib.suppress(EpisodeError, KeyError, TypeError):
        return str(read_json(note)["sha256"])
    value = file_sha256(path)
    write_json(note, {"path": str(path.resolve()), "sha256": value})
    return value
