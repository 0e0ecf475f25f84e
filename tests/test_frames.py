"""Parquet files whose columns are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from episode.errors import DatasetError
from episode.frames import read_frame

COLUMNS = {"name": "str", "count": "int8", "share": "float64", "known": "bool"}
CONTENT: dict[str, list[Any]] = {"name": ["a", ""], "count": [1, -1], "share": [0.5, None], "known": [True, False]}


def write(path: Path, **changed: Any) -> Path:
    pq.write_table(pa.table({name: value for name, value in (CONTENT | changed).items() if value is not None}), path)
    return path


def test_columns_get_their_types(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "a.parquet"), COLUMNS)
    expected = pd.DataFrame(CONTENT | {"share": [0.5, float("nan")]}).astype(COLUMNS)
    pd.testing.assert_frame_equal(frame, expected)


def test_other_columns_are_read_on_request_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", more=["x", "y"], number=[1, 2])
    assert list(read_frame(path, COLUMNS)) == list(COLUMNS)
    with pytest.raises(DatasetError, match="number holds int64; needs text"):
        read_frame(path, COLUMNS, others="str", error=DatasetError)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": None}, "lacks the columns name"),
        ({"name": [1, 2]}, "name holds int64; needs text"),
        ({"name": ["a", None]}, "row 2: name has no value; needs text"),
        ({"name": [b"a", b"b"]}, "name holds binary; needs text"),
        ({"count": ["1", "2"]}, "count holds string; needs whole numbers"),
        ({"count": [1.0, 2.0]}, "count holds double; needs whole numbers"),
        ({"count": [None, 1]}, "row 1: count has no value; needs whole numbers"),
        ({"count": [1, 300]}, "Integer value 300 not in range: -128 to 127"),
        ({"count": [True, False]}, "count holds bool; needs whole numbers"),
        ({"share": [1, 2]}, "share holds int64; needs numbers"),
        ({"share": [{"a": 1.0}] * 2}, "share holds struct<a: double>; needs numbers"),
        ({"known": [1, 0]}, "known holds int64; needs true or false"),
        ({"known": [None, None]}, "known holds null; needs true or false"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.parquet", **changed)
    with pytest.raises(DatasetError) as caught:
        read_frame(path, COLUMNS, error=DatasetError)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_column_twice(tmp_path: Path) -> None:
    table = pa.table(CONTENT).append_column("count", pa.array([3, 4]))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="count occurs twice among its columns"):
        read_frame(tmp_path / "a.parquet", COLUMNS, others="str", error=DatasetError)


def test_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("a,b\n1,2\n")
    for name in ("folder", "empty", "text"):
        with pytest.raises(DatasetError, match=f"{name}: cannot be read as Parquet"):
            read_frame(tmp_path / name, COLUMNS, error=DatasetError)
    with pytest.raises(DatasetError, match="absent: no such file"):
        read_frame(tmp_path / "absent", COLUMNS, error=DatasetError)
