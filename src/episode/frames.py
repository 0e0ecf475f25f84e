"""Reading a Parquet file whose columns are known: names, kinds and missing values are checked before anyone computes.

Knows nothing of what the columns mean, nor of tables that users give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from episode.errors import EpisodeError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_frame"]


def read_frame(
    path: Path, columns: Mapping[str, str], *, others: str | None = None, error: type[EpisodeError] = EpisodeError
) -> pd.DataFrame:
    """Read a Parquet file.

    Parameters
    ----------
    columns : mapping of str to str
        Type of each column that must be there: "str", "bool", or the name of a whole or floating point type of NumPy.
        A number may be stored in another width, if it fits.
    others : str, optional
        Type of all other columns; by default they are not read.

    Raises
    ------
    EpisodeError
        Of type `error`, if the file cannot be read, a column is missing, occurs twice or is of another kind, or a value
        is missing; a floating point number may be, which is NaN.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            table = file.read(columns=list(columns)) if others is None and set(columns) <= set(names) else file.read()
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError, TypeError) as problem:
        raise error(f"{path}: cannot be read as Parquet ({str(problem).splitlines()[0]})") from None
    missing = [name for name in columns if name not in names]
    if missing:
        raise error(f"{path}: lacks the columns {', '.join(missing)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise error(f"{path}: {twice[0]} occurs twice among its columns")
    wanted = {name: columns.get(name, others or "") for name in table.column_names}
    for name, kind in wanted.items():
        found = table.column(name)
        need, fits = _kind(kind)
        if not fits(found.type):
            raise error(f"{path}: {name} holds {found.type}; needs {need}")
        if found.null_count and not pa.types.is_floating(found.type):
            row = found.is_null().index(True).as_py() + 1
            raise error(f"{path}: row {row}: {name} has no value; needs {need}")
    try:
        schema = pa.schema([(name, _arrow(kind)) for name, kind in wanted.items()])
        return table.replace_schema_metadata(None).cast(schema).to_pandas()
    except (pa.ArrowException, ValueError) as problem:
        raise error(f"{path}: {str(problem).splitlines()[0]}") from None


def _kind(name: str) -> tuple[str, Callable[[pa.DataType], bool]]:
    """What a column of a type needs, in words and as a test."""
    from pyarrow import types

    if name == "str":
        return "text", lambda found: types.is_string(found) or types.is_large_string(found)
    if name == "bool":
        return "true or false", types.is_boolean
    return ("numbers", types.is_floating) if name.startswith("float") else ("whole numbers", types.is_integer)


def _arrow(name: str) -> pa.DataType:
    import pyarrow as pa

    return pa.large_string() if name == "str" else pa.bool_() if name == "bool" else pa.type_for_alias(name)
