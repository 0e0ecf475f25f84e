"""The folder of a dataset: written whole or not at all, checked when it is read.

    manifest.json     what it was made from (`Manifest`), written last
    pairs.parquet     one row a pair
    elements.parquet  one row a distinct enhancer or promoter
    codes.npy         their bases, memory-mapped
    summary.tsv       pairs by environment and label
    audit.json        what the parts of the split share (`SplitAudit`)
    dropped.tsv       rows left out, with reasons, if any were

Does not know how a dataset is assembled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from episode.data.dataset import Dataset
from episode.data.leakage import SplitAudit, split_audit
from episode.data.manifest import Manifest
from episode.data.pairs import empty_dropped
from episode.errors import DatasetError
from episode.files import atomic_folder
from episode.lines import escaped, write_tsv
from episode.schema import read_model, write_model

__all__ = ["load_dataset", "write_dataset"]

_PAIR_COLUMNS = ("environment", "enhancer_id", "promoter_id", "locus", "mirrored", "has_coordinates")


_ELEMENT_COLUMNS = ("kind", "name", "chrom", "start", "end", "length", "gc", "n_fraction", "offset")


def write_dataset(dataset: Dataset, path: Path | str) -> SplitAudit:
    """Write a dataset folder; it appears whole or not at all. Return the audit of its split, which is part of it.

    Raises
    ------
    EpisodeError
        If `path` exists and is not an empty folder.
    """
    with atomic_folder(Path(path)) as folder:
        dataset.pairs.to_parquet(folder / "pairs.parquet", index=False)
        dataset.elements.to_parquet(folder / "elements.parquet", index=False)
        np.save(folder / "codes.npy", dataset.codes)
        write_tsv(dataset.summary(), folder / "summary.tsv")
        audit = split_audit(dataset)
        write_model(folder / "audit.json", audit)
        if len(dataset.dropped):
            write_tsv(escaped(dataset.dropped), folder / "dropped.tsv")
        write_model(folder / "manifest.json", dataset.manifest)
    return audit


def load_dataset(path: Path | str) -> Dataset:
    """Open a dataset folder; `codes` stays on disk (memory-mapped, read-only).

    Raises
    ------
    DatasetError
        If the folder or a file is missing or damaged, the files disagree, or the format version is another.
    """
    folder = Path(path)
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{folder}: {came}; needs a dataset folder made by `episode data build`")
    manifest = _read_manifest(folder / "manifest.json")
    pairs = _read_frame(folder / "pairs.parquet", _PAIR_COLUMNS)
    elements = _read_frame(folder / "elements.parquet", _ELEMENT_COLUMNS)
    codes_path = folder / "codes.npy"
    try:
        codes = np.load(codes_path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DatasetError(f"{codes_path}: no such file; the dataset is incomplete") from None
    except (ValueError, OSError, EOFError) as error:
        raise DatasetError(f"{codes_path}: cannot be read ({error})") from None
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise DatasetError(f"{codes_path}: holds {codes.dtype} of {codes.ndim} dimensions; needs uint8 of one")
    counts = manifest.counts
    for name, have, need in (
        ("pairs.parquet", len(pairs), counts.pairs),
        ("elements.parquet", len(elements), counts.enhancers + counts.promoters),
        ("codes.npy", len(codes), counts.bases),
    ):
        if have != need:
            raise DatasetError(f"{folder / name}: holds {have} entries; manifest.json says {need}")
    _check_links(folder, pairs, elements, len(codes))
    dropped_path = folder / "dropped.tsv"
    dropped = empty_dropped()
    if dropped_path.exists():
        dropped = pd.read_csv(dropped_path, sep="\t", keep_default_na=False, dtype={"row": "int64"})
    return Dataset(pairs, elements, codes, manifest, dropped)


def _read_manifest(path: Path) -> Manifest:
    if not path.exists():
        raise DatasetError(f"{path}: no such file; needs the manifest of a dataset made by `episode data build`")
    return read_model(path, Manifest, error=DatasetError)


def _read_frame(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; the dataset is incomplete") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    missing = [name for name in needed if name not in frame]
    if missing:
        raise DatasetError(f"{path}: lacks the columns {', '.join(missing)}")
    return frame


def _check_links(folder: Path, pairs: pd.DataFrame, elements: pd.DataFrame, bases: int) -> None:
    for side in ("enhancer", "promoter"):
        ids = pairs[f"{side}_id"].to_numpy()
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(elements)):
            raise DatasetError(f"{folder / 'pairs.parquet'}: {side}_id points outside elements.parquet")
        if not (elements["kind"].to_numpy()[ids] == side).all():
            raise DatasetError(f"{folder / 'pairs.parquet'}: {side}_id points at an element that is no {side}")
    length = elements["length"].to_numpy()
    if not np.array_equal(elements["offset"].to_numpy(), np.cumsum(length) - length) or length.sum() != bases:
        raise DatasetError(f"{folder / 'elements.parquet'}: offset and length do not cover codes.npy")
