"""What is written comes back as it was: models, datasets and segments of the store."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from episode.data.storage import load_dataset, write_dataset
from episode.encode.segments import DIGEST, Recipe, SegmentFolder
from episode.schema import Model, read_model, write_model
from tiny_world import dataset

TEXT = st.text(max_size=12)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Nested(Model):
    name: str
    numbers: tuple[float, ...]
    whole: int
    inner: dict[str, list[bool | None]] = Field(default_factory=dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trips")


@QUICK
@given(
    st.builds(
        Nested,
        name=TEXT,
        numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
        whole=st.integers(-(10**30), 10**30),
        inner=st.dictionaries(TEXT, st.lists(st.none() | st.booleans(), max_size=3), max_size=3),
    )
)
def test_a_model(folder: Path, model: Nested) -> None:
    write_model(folder / "model.json", model)
    assert read_model(folder / "model.json", Nested) == model


@settings(QUICK, max_examples=6)
@given(st.data())
def test_a_dataset(folder: Path, data: st.DataObject) -> None:
    whole = dataset()
    rows = data.draw(st.lists(st.integers(0, len(whole.pairs) - 1), min_size=1, max_size=12, unique=True))

    def column(values: st.SearchStrategy[object], kind: str) -> pd.Series:
        return pd.Series([data.draw(values) for _ in rows], dtype=kind)

    pairs = whole.pairs.iloc[rows].reset_index(drop=True)
    pairs = pairs.assign(
        label=column(st.sampled_from([1, 0, -1]), "int8"),
        split=column(st.sampled_from(["", "train", "val", "test"]), "str"),
        distance=column(st.floats(0, 1e9) | st.just(float("nan")), "float64"),
        note=column(TEXT, "str"),
    )
    manifest = whole.manifest.changed(counts=whole.manifest.counts.changed(pairs=len(pairs)))
    made = replace(whole, pairs=pairs, manifest=manifest)
    shutil.rmtree(folder / "dataset", ignore_errors=True)
    write_dataset(made, folder / "dataset")
    again = load_dataset(folder / "dataset")
    pd.testing.assert_frame_equal(again.pairs, pairs)
    pd.testing.assert_frame_equal(again.elements, whole.elements)
    assert np.array_equal(again.codes, whole.codes) and again.manifest == manifest


@QUICK
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_segments(folder: Path, parts: list[list[int]]) -> None:
    shutil.rmtree(folder / "store", ignore_errors=True)
    recipe = Recipe(code_version=1, bank="bases", bin=3, row=(3,), dtype="uint8")
    store, rng = SegmentFolder(folder / "store", recipe), np.random.default_rng(0)
    kept: dict[bytes, np.ndarray] = {}
    for number, bins in enumerate(parts):
        digests = [hashlib.blake2b(f"{number} {i}".encode(), digest_size=16).digest() for i in range(len(bins))]
        rows = [rng.integers(0, 5, (count, 3)).astype(np.uint8) for count in bins]
        with store.writing():
            store.add(np.array(digests, dtype=DIGEST), np.array(bins), [np.concatenate(rows)])
        kept |= dict(zip(digests, rows, strict=True))
    found = SegmentFolder(folder / "store", recipe).find(np.array(list(kept), dtype=DIGEST))
    for start, expected in zip(found.start, kept.values(), strict=True):
        out = np.empty_like(expected)
        found.rows.copy(np.array([start]), np.array([len(expected)]), np.zeros(1, dtype=np.int64), out)
        assert np.array_equal(out, expected)
