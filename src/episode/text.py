"""Which text may be a name: the one rule for cell lines, assays, elements, columns and carried values.

Outputs are lines of fields. Text that could end a line or a field, or be shown as something else, is refused where it
comes in, so that what writes files can trust it.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import numpy.typing as npt
import pandas as pd

from episode.limits import NAME_LENGTH

__all__ = ["forbidden_characters", "names_with_problems", "shorten", "text_problem"]

_FORBIDDEN = "\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff"
"""Control characters, line and paragraph separators, marks that turn the direction of writing, and letters of no width
that make two names look the same."""
_SURROGATES = "\ud800-\udfff"
"""Half characters, which no column of text can hold."""


_SHOWN = 60
"""Characters of a value in a message."""


def shorten(value: str) -> str:
    """Cut a value for a message."""
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}... ({len(value)} characters)"


def forbidden_characters(values: pd.Series) -> npt.NDArray[np.bool_]:
    """Tell which texts hold a forbidden character."""
    return values.str.contains(f"[{_FORBIDDEN}]", regex=True).to_numpy(dtype=bool)


def names_with_problems(values: pd.Series) -> npt.NDArray[np.bool_]:
    """Tell which texts have a problem as names, see `text_problem`."""
    outer = values.str.strip() != values
    return forbidden_characters(values) | (outer | (values.str.len() > NAME_LENGTH)).to_numpy(dtype=bool)


def text_problem(text: str, *, length: int | None = NAME_LENGTH) -> str | None:
    """Return what is wrong with text that outputs will repeat, None if nothing is.

    Parameters
    ----------
    length : int or None
        Characters allowed of a name, which neither begins nor ends with a blank; None for other text of any length.
    """
    found = re.search(f"[{_FORBIDDEN}{_SURROGATES}]", text)
    if found:
        letter = found.group()
        if "\udc80" <= letter <= "\udcff":
            return f"holds the byte 0x{ord(letter) & 0xFF:02X} at character {found.start() + 1}; needs UTF-8"
        name = unicodedata.name(letter, "control character")
        return f"holds U+{ord(letter):04X} ({name.lower()}) at character {found.start() + 1}; needs plain text"
    if length is None:
        return None
    if text != text.strip():
        outer = text[0] if text[0].isspace() else text[-1]
        return f"begins or ends with U+{ord(outer):04X} ({unicodedata.name(outer).lower()}); needs a name without it"
    if len(text) > length:
        return f"has {len(text):,} characters; needs at most {length:,}"
    return None
