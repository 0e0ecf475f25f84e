"""Which text may be a name."""

from __future__ import annotations

import pandas as pd
import pytest

from episode.text import forbidden_characters, text_problem

BAD = ["a\tb", "a\nb", "a\rb", "\x00", "\x7f", "\x85", "a\u2028b", "\u202eevil", "\udcff"]
GOOD = ["K562", "naïve CD4+ T", 'the "best" line', "=SUM(A1)", "細胞", "a^$b", "-"]


@pytest.mark.parametrize("text", BAD)
def test_text_that_could_end_a_field_or_a_line_is_refused(text: str) -> None:
    assert text_problem(text) is not None


@pytest.mark.parametrize("text", GOOD)
def test_plain_text_passes(text: str) -> None:
    assert text_problem(text) is None


def test_a_column_is_told_as_its_single_texts_are() -> None:
    values = [text for text in [*BAD, *GOOD] if text != "\udcff"]
    assert forbidden_characters(pd.Series(values)).tolist() == [text_problem(text) is not None for text in values]


def test_the_message_names_the_character_and_its_place() -> None:
    assert text_problem("ab\tc") == "holds U+0009 (control character) at character 3; needs plain text"
    assert text_problem("a\udce9") == "holds the byte 0xE9 at character 2; needs UTF-8"
    assert text_problem("x" * 1001) == "has 1,001 characters; needs at most 1,000"
    assert text_problem("x" * 1001, length=None) is None
