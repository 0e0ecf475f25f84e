"""The folder of a dataset: written whole or not at all, checked when it is read.

    manifest.json     what it was made from (`Manifest`), and the checksums of the files; written last
    pairs.parquet     one row a pair
    elements.parquet  one row a distinct enhancer or promoter
    codes.npy         their bases, read when they are asked for
    summary.tsv       pairs by environment and label
    audit.json        what the parts of the split share (`SplitAudit`)
    dropped.tsv       rows left out, with reasons, if any were

Does not know how a dataset is assembled.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from episode.data.dataset import Dataset
from episode.data.leakage import SplitAudit, split_audit
from episode.data.manifest import FORMAT_VERSION, Manifest, ManifestFile
from episode.data.pairs import CANONICAL_DTYPES, DROPPED_COLUMNS, SIDES, SPLITS, empty_dropped, environment_names
from episode.dna import UNKNOWN
from episode.documents import json_content, read_text
from episode.errors import DatasetError
from episode.files import atomic_folder
from episode.frames import read_frame
from episode.integrity import check_seal, write_sealed
from episode.limits import POSITION
from episode.lines import escaped, write_tsv
from episode.schema import parse_json, write_model
from episode.slices import ByteArray
from episode.text import forbidden_characters, text_problem

__all__ = ["load_dataset", "write_dataset"]

FILES = ("pairs.parquet", "elements.parquet", "codes.npy", "summary.tsv", "audit.json", "dropped.tsv")
REMEDY = "take it from a copy, or build the dataset again"
PAIR_TYPES = CANONICAL_DTYPES | {
    "environment": "str",
    "enhancer_id": "int32",
    "promoter_id": "int32",
    "locus": "int32",
    "mirrored": "bool",
    "has_coordinates": "bool",
}
"""Columns of pairs.parquet; further ones are carried through as text."""
ELEMENT_TYPES = {
    "kind": "str",
    "name": "str",
    "chrom": "str",
    "start": "int64",
    "end": "int64",
    "length": "int64",
    "gc": "float32",
    "n_fraction": "float32",
    "offset": "int64",
}


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
        np.save(folder / "codes.npy", np.asarray(dataset.codes))
        write_tsv(dataset.summary(), folder / "summary.tsv")
        audit = split_audit(dataset)
        write_model(folder / "audit.json", audit)
        if len(dataset.dropped):
            write_tsv(escaped(dataset.dropped), folder / "dropped.tsv")
        write_sealed(folder / "manifest.json", dataset.manifest.changed(format_version=FORMAT_VERSION), FILES)
    return audit


def load_dataset(path: Path | str) -> Dataset:
    """Open a dataset folder; `codes` stay in their file.

    Raises
    ------
    DatasetError
        If the folder or a file is missing, damaged or was changed, the files disagree, or the format version is
        another.
    """
    folder = Path(path)
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{folder}: {came}; needs a dataset folder made by `episode data build`")
    manifest = _read_manifest(folder / "manifest.json")
    pairs = read_frame(folder / "pairs.parquet", PAIR_TYPES, others="str", error=DatasetError)
    elements = read_frame(folder / "elements.parquet", ELEMENT_TYPES, others="str", error=DatasetError)
    codes = _read_codes(folder / "codes.npy")
    counts = manifest.counts
    for name, have, need in (
        ("pairs.parquet", len(pairs), counts.pairs),
        ("elements.parquet", len(elements), counts.enhancers + counts.promoters),
        ("codes.npy", len(codes), counts.bases),
    ):
        if have != need:
            raise DatasetError(f"{folder / name}: holds {have} entries; manifest.json says {need}")
    _check_elements(folder / "elements.parquet", elements, len(codes))
    _check_links(folder / "pairs.parquet", pairs, elements)
    _check_pairs(folder / "pairs.parquet", pairs, len(manifest.sources))
    return Dataset(pairs, elements, codes, manifest, _read_dropped(folder / "dropped.tsv"))


def _read_manifest(path: Path) -> Manifest:
    if not path.exists():
        raise DatasetError(f"{path}: no such file; needs the manifest of a dataset made by `episode data build`")
    text = read_text(path, error=DatasetError)
    stored = parse_json(text, ManifestFile, where=str(path), error=DatasetError)
    content = json_content(text, where=str(path), error=DatasetError)
    old = stored.format_version < FORMAT_VERSION
    check_seal(path, content, FILES, old=old, remedy=REMEDY, error=DatasetError)
    return Manifest(**{name: getattr(stored, name) for name in Manifest.model_fields})


def _read_codes(path: Path) -> ByteArray:
    try:
        codes = ByteArray(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; the dataset is incomplete") from None
    except (ValueError, OSError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    for part in codes.slices():
        if part.max(initial=0) > UNKNOWN:
            raise DatasetError(f"{path}: holds {part.max()}; codes of bases are 0 to {UNKNOWN}")
    return codes


def _read_dropped(path: Path) -> pd.DataFrame:
    if not path.exists():
        return empty_dropped()
    try:
        dropped = pd.read_csv(path, sep="\t", keep_default_na=False, dtype={"row": "int64"}, encoding="utf-8")
    except (ValueError, OverflowError, OSError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    if tuple(dropped.columns) != DROPPED_COLUMNS:
        have, need = (", ".join(map(str, names)) for names in (dropped.columns, DROPPED_COLUMNS))
        raise DatasetError(f"{path}: has the columns {have}; needs {need}")
    return dropped


def _check_links(path: Path, pairs: pd.DataFrame, elements: pd.DataFrame) -> None:
    for side in SIDES:
        ids = pairs[f"{side}_id"].to_numpy()
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(elements)):
            raise DatasetError(f"{path}: {side}_id points outside elements.parquet")
        if not (elements["kind"] == side).to_numpy(bool)[ids].all():
            raise DatasetError(f"{path}: {side}_id points at an element that is no {side}")


def _check_elements(path: Path, elements: pd.DataFrame, bases: int) -> None:
    _refuse(path, elements, "kind", ~elements["kind"].isin(SIDES), "enhancer or promoter")
    _refuse(path, elements, "name", forbidden_characters(elements["name"]), "plain text")
    _refuse(path, elements, "chrom", forbidden_characters(elements["chrom"]), "plain text")
    _check_intervals(path, elements, "start", "end")
    for name in ("gc", "n_fraction"):
        _refuse(path, elements, name, ~elements[name].fillna(0).between(0, 1), "a fraction")
    length = elements["length"].to_numpy()
    _refuse(path, elements, "length", (length < 1) | (length > bases), "at least 1 base, and bases in codes.npy")
    if not np.array_equal(elements["offset"].to_numpy(), np.cumsum(length) - length) or length.sum() != bases:
        raise DatasetError(f"{path}: offset and length do not cover codes.npy")


def _check_pairs(path: Path, pairs: pd.DataFrame, sources: int) -> None:
    distance, source, label = (pairs[name].to_numpy() for name in ("distance", "source", "label"))
    _refuse(path, pairs, "label", (label < -1) | (label > 1), "1, 0 or -1")
    _refuse(path, pairs, "distance", (distance < 0) | np.isinf(distance), "a finite number of at least 0, or none")
    _refuse(path, pairs, "split", ~pairs["split"].isin(["", *SPLITS]), "train, val, test or nothing")
    _refuse(path, pairs, "source", (source < 0) | (source >= sources), "the number of a source in manifest.json")
    for name in ("row", "locus"):
        _refuse(path, pairs, name, pairs[name] < 0, "at least 0")
    for side in SIDES:
        _check_intervals(path, pairs, f"{side}_start", f"{side}_end")
    groups = pairs[["environment", "cell_line", "assay"]].drop_duplicates()
    for column in groups.columns:
        wrong = [text_problem(text) is not None or not (text or column == "assay") for text in groups[column]]
        _refuse(path, groups, str(column), wrong, "a name")
    _refuse(path, groups, "environment", groups["environment"] != environment_names(groups), "cell line and assay")


def _check_intervals(path: Path, frame: pd.DataFrame, start: str, end: str) -> None:
    first, last = frame[start].to_numpy(), frame[end].to_numpy()
    known = (first >= 0) & (last > first) & (last <= POSITION)
    _refuse(path, frame, end, ~known & ~((first == -1) & (last == -1)), f"a place past {start}, or both -1")


def _refuse(path: Path, frame: pd.DataFrame, column: str, wrong: Iterable[Any], need: str) -> None:
    """Raise a `DatasetError` that names the first row which is `wrong`, if any is."""
    at = np.flatnonzero(np.asarray(wrong, dtype=bool))
    if len(at):
        row, value = frame.index[at[0]] + 1, frame[column].iloc[[at[0]]].tolist()[0]
        raise DatasetError(f"{path}: row {row}: {column} {value!r} needs {need}; {REMEDY}")
