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

__all__ = ["forbidden_characters", "text_problem"]

_FORBIDDEN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters, line and paragraph separators, marks that turn the direction of writing, lone surrogates."""


def forbidden_characters(values: pd.Series) -> npt.NDArray[np.bool_]:
    """Tell which texts hold a forbidden character."""
    texts = values.tolist()
    if re.search(_FORBIDDEN, "".join(texts)) is None:
        return np.zeros(len(texts), dtype=bool)
    return np.array([re.search(_FORBIDDEN, text) is not None for text in texts], dtype=bool)


def text_problem(text: str, *, length: int | None = NAME_LENGTH) -> str | None:
    """Return what is wrong with text that outputs will repeat, None if nothing is.

    Parameters
    ----------
    length : int or None
        Characters allowed; None for any number.
    """
    found = re.search(_FORBIDDEN, text)
    if found:
        letter = found.group()
        if "\udc80" <= letter <= "\udcff":
            return f"holds the byte 0x{ord(letter) & 0xFF:02X} at character {found.start() + 1}; needs UTF-8"
        name = unicodedata.name(letter, "control character")
        return f"holds U+{ord(letter):04X} ({name.lower()}) at character {found.start() + 1}; needs plain text"
    if length is not None and len(text) > length:
        return f"has {len(text):,} characters; needs at most {length:,}"
    return None
