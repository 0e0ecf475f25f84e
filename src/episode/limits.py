"""Bounds on what one input may claim of memory and time, all in one place; see `docs/reliability.md`.

Numbers only. Whoever reads an input checks it and says what was needed.
"""

from __future__ import annotations

__all__ = [
    "CHROMOSOME_BASES",
    "COLUMNS",
    "ELEMENT_BASES",
    "GZIP_RATIO",
    "INTEGER_DIGITS",
    "JSON_BYTES",
    "NAME_LENGTH",
    "TABLE_BYTES",
    "UNCHECKED_BYTES",
]

TABLE_BYTES = 8 << 30
"""Bytes of a text table, unpacked."""
GZIP_RATIO = 200
"""Bytes that a byte of a gzip file may unpack to, past `UNCHECKED_BYTES`; tables of pairs have 5 to 50."""
UNCHECKED_BYTES = 64 << 20
"""Unpacked bytes below which `GZIP_RATIO` is not looked at."""
COLUMNS = 1000
"""Columns of a table."""
NAME_LENGTH = 1000
"""Characters of the name of a cell line, an assay, an element or a column."""
ELEMENT_BASES = 1_000_000
"""Bases of one element or window."""
CHROMOSOME_BASES = 1 << 40
"""Longer than any chromosome."""
JSON_BYTES = 1 << 30
"""Bytes of a JSON or TOML file."""
INTEGER_DIGITS = 100
"""Digits of a whole number in a JSON file; more would not fit into a float."""
