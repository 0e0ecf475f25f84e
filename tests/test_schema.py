"""Models of files: what is read and refused, and the committed JSON schemas."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from episode.errors import CheckpointError, ConfigError
from episode.schema import Model, Vector, parse_json, parse_model, read_model, refusal, write_model

DOCS = Path(__file__).parents[1] / "docs"


class Part(Model):
    size: int = Field(default=1, gt=0)
    names: tuple[str, ...] = ()


class Whole(Model):
    part: Part = Part()
    weight: float = 0.5
    parts: dict[str, Part] = Field(default_factory=dict)
    either: Part | float | None = None
    rows: list[list[str]] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prt": {}}, "here: unknown key 'prt'; did you mean 'part'?"),
        ({"zzz": 1}, "here: unknown key 'zzz'; known keys: part, weight, parts, either, rows"),
        ({"part": {"sise": 1}}, "here: part: unknown key 'sise'; did you mean 'size'?"),
        ({"parts": {"a": {"sise": 1}}}, "here: parts.a: unknown key 'sise'; did you mean 'size'?"),
        ({"either": {"sise": 1}}, "here: either: unknown key 'sise'; did you mean 'size'?"),
        ({"part": {"size": 0}}, "here: part.size: needed more than 0, got 0"),
        ({"part": {"size": True}}, "here: part.size: needed a whole number, got True"),
        ({"part": 3}, "here: part: needed a table of settings, got 3"),
        ({"weight": True}, "here: weight: needed a number, got True"),
        ({"weight": float("inf")}, "here: weight: needed a finite number, got inf"),
        ({"rows": [["a"], [1]]}, "here: rows.1.0: needed text, got 1"),
        ({"weight": "x", "part": {"size": 0}}, "here: part.size: needed more than 0, got 0\nhere: weight: needed a"),
        ([], "here: needed a table of settings, got []"),
    ],
)
def test_what_does_not_fit_is_named(content: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model(content, Whole, where="here")
    assert str(caught.value).startswith(message)


def test_a_file_comes_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    whole = Whole(part=Part(size=3, names=("a", "ü")), weight=2)
    path = tmp_path / "whole.json"
    write_model(path, whole)
    assert read_model(path, Whole) == whole
    for text, message in (("{", "not valid JSON"), ('{"part": {"size": 1.5}}', "part.size: needed a whole number")):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=f"whole.json: {message}"):
            read_model(path, Whole, error=CheckpointError)
    with pytest.raises(ConfigError, match=r"there\.toml: no such file"):
        read_model(tmp_path / "there.toml", Whole)


def test_a_changed_copy_is_checked() -> None:
    part = Part(names=("a",))
    assert part.changed(size=2) == Part(size=2, names=("a",))
    with pytest.raises(ConfigError, match="Part: size: needed more than 0"):
        part.changed(size=0)
    assert pickle.loads(pickle.dumps(part)) == part


def test_a_relation_names_its_key() -> None:
    error = refusal("a.b", "is {not} possible")
    assert (error.type, error.message()) == ("refused", "is {not} possible")


def test_a_vector_is_a_list_in_a_file() -> None:
    class Numbers(Model):
        values: Vector

    numbers = Numbers(values=np.array([0.1, 1 / 3]))
    again = parse_json(numbers.model_dump_json(), Numbers, where="x")
    np.testing.assert_array_equal(again.values, numbers.values)
    for value in ("[[1]]", '["a"]', "null", "[NaN]", "{}"):
        with pytest.raises(ConfigError, match="x: values: needed a list of finite numbers"):
            parse_json(f'{{"values": {value}}}', Numbers, where="x")


def test_the_committed_json_schemas_are_those_of_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from make_schemas import FOLDER, MODELS, schema_text

    assert {path.stem for path in FOLDER.glob("*.json")} == set(MODELS)
    for name, kind in MODELS.items():
        text = (FOLDER / f"{name}.json").read_text()
        assert text == schema_text(kind), f"{name}: out of date; run python docs/make_schemas.py"


def test_help_does_not_load_models() -> None:
    code = "import sys; from episode.cli.main import build_parser; build_parser(); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pattern_with_braces_is_shown_as_it_is() -> None:
    class Hashed(Model):
        sha256: str = Field(pattern="^[0-9a-f]{64}$")

    with pytest.raises(ConfigError) as caught:
        parse_model({"sha256": "x"}, Hashed, where="a.json")
    assert str(caught.value) == "a.json: sha256: needed text like ^[0-9a-f]{64}$, got 'x'"
