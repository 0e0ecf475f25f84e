"""The script that makes tables sortable: DataTables as the itables package ships it, inlined, so that it works offline.

A page without it, or with scripts turned off, is complete; only its tables cannot be sorted. This module does not know
what is in a table: the headings of columns of numbers have the class "number", every cell its ``data-order``.
"""

from __future__ import annotations

import base64
import functools
from importlib import resources

__all__ = ["sorting_script"]


@functools.cache
def sorting_script() -> str:
    """Return the script element, about 0.8 MB."""
    bundle = resources.files("itables").joinpath("html", "dt_bundle.js").read_bytes()
    start = resources.files("episode.report").joinpath("sorting.js").read_text(encoding="utf-8")
    source = f"data:text/javascript;base64,{base64.b64encode(bundle).decode()}"
    return f'<script type="module">\nimport DataTable from "{source}";\n{start}</script>'
