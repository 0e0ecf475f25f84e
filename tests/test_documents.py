"""JSON and TOML that anyone may have written: bounded and strict, and a clear error that names the file."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from episode import documents
from episode.config import Config
from episode.documents import json_content, read_json, read_lines, toml_content
from episode.errors import ConfigError, EpisodeError
from episode.schema import Model, parse_json, parse_model, read_model


class Anything(Model):
    value: object = None


REFUSED = {
    "deep": ("[" * 100_000, "nested too deeply"),
    "deep in a value": ('{"value": ' + "[" * 5_000 + "]" * 5_000 + "}", "nested too deeply"),
    "digits": ('{"value": ' + "9" * 5_000 + "}", "a number of 5,000 digits"),
    "digits below zero": ('{"value": -' + "9" * 5_000 + "}", "a number of 5,001 digits"),
    "nan": ('{"value": NaN}', "the number NaN is not finite"),
    "infinity": ('{"value": -Infinity}', "the number -Infinity is not finite"),
    "too large": ('{"value": 1e999}', "the number 1e999 is not finite"),
    "twice": ('{"value": 1, "value": 2}', "the key 'value' occurs twice"),
    "twice inside": ('{"value": [{"a": 1, "b": 2, "a": 1}]}', "the key 'a' occurs twice"),
    "empty": ("", "Expecting value"),
    "two": ("{} {}", "Extra data"),
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_json(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    for read in (lambda: read_json(path), lambda: read_model(path, Anything, error=EpisodeError)):
        with pytest.raises(EpisodeError) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: not valid JSON (")
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("é".encode("latin-1"), "no UTF-8 at byte 0"),
        ("{}".encode("utf-16"), "no UTF-8 at byte 0"),
        (b'{"a": "\xed\xa0\x80"}', "no UTF-8 at byte 7"),
    ],
)
def test_text_that_is_not_utf8(tmp_path: Path, content: bytes, problem: str) -> None:
    for name, form in (("a.json", "JSON"), ("a.toml", "TOML")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_model(tmp_path / name, Config)
        assert str(caught.value) == f"{tmp_path / name}: not valid {form} ({problem})"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"value": 1}')
    assert read_json(tmp_path / "a.json") == {"value": 1}
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf[training]\nsteps = 5\n")
    assert read_model(tmp_path / "a.toml", Config).training.steps == 5


def test_a_file_of_more_bytes_than_any_such_file_has(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(documents.JSON_BYTES + 1)  # takes no room
    with pytest.raises(EpisodeError, match=r"a\.json: not valid JSON \(more than 1,073,741,824 bytes\)"):
        read_json(tmp_path / "a.json")
    with pytest.raises(EpisodeError, match="zero: is a pipe or a device; needs a file"):
        read_json(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = " + "[" * 5_000, "nested too deeply"),
        (".".join("a" * 5_000) + " = 1", "nested too deeply"),
        ("x = " + "9" * 5_000, "a number of too many digits"),
        ("x = 1\nx = 2\n", "Cannot overwrite a value"),
    ],
    ids=["list", "keys", "digits", "twice"],
)
def test_refused_toml(text: str, problem: str) -> None:
    with pytest.raises(EpisodeError) as caught:
        toml_content(text, where="a.toml")
    assert str(caught.value).startswith("a.toml: not valid TOML (") and problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("[training]\nsteps = [" + "1," * 10_000 + "]", "[1, 1, 1, 1, 1, 1, ...]"),
        ("[training]\nsteps = {a.b.c.d.e.f.g.h.i = 1}", "{'a': {'b': {'c': {'d': {'e': {'f': {...}}}}}}}"),
        ("[training]\nsteps = '" + "x" * 10_000 + "'", f"'{'x' * 80}'..."),
    ],
    ids=["list", "deep", "text"],
)
def test_a_message_shows_a_large_value_in_short(tmp_path: Path, text: str, came: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_model(tmp_path / "a.toml", Config)
    assert str(caught.value).endswith(f"got {came}") and len(str(caught.value)) < 300


def test_a_message_shows_no_number_of_thousands_of_digits() -> None:
    with pytest.raises(ConfigError, match=r"training\.steps: needed .*, got a number of too many digits"):
        parse_model({"training": {"steps": -(16**5_000)}}, Config, where="x")


def test_infinite_numbers_where_they_are_meant() -> None:
    text = '{"value": [-Infinity, NaN, 1e999]}'
    assert str(json_content(text, where="x", infinite=True)["value"]) == "[-inf, nan, inf]"
    found = parse_json(text, Anything, where="x", infinite=True).value
    assert isinstance(found, list) and [math.isfinite(value) for value in found] == [False] * 3


def test_lines_end_where_json_lines_end(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('"a\u2028b"\n"c"', encoding="utf-8")
    assert read_lines(tmp_path / "a.jsonl") == ['"a\u2028b"\n', '"c"']
    (tmp_path / "a.jsonl").write_text("")
    assert read_lines(tmp_path / "a.jsonl") == []


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.json", "any.toml"):
        (folder / name).write_bytes(content)
        with contextlib.suppress(ConfigError):
            assert isinstance(read_model(folder / name, Config), Config)
