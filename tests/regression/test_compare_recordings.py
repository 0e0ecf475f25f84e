"""What the comparison must find, and what it must let pass."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from compare_recordings import Comparison, compare_folders, compare_said, main
from frozen import SAMPLE

Change = Callable[[Path], None]


def _json(name: str, change: Callable[[dict], object]) -> Change:
    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content, indent=2))

    return apply


def _parquet(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    def apply(folder: Path) -> None:
        change(pd.read_parquet(folder / name)).to_parquet(folder / name)

    return apply


def _text(name: str, old: str, new: str) -> Change:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text()
        assert re.search(old, text)
        (folder / name).write_text(re.sub(old, new, text, count=1))

    return apply


def _bytes(name: str, place: int) -> Change:
    def apply(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return apply


def _weights(change: Callable[[dict], object]) -> Change:
    def apply(folder: Path) -> None:
        weights = load_file(folder / "run" / "model.safetensors")
        change(weights)
        save_file(weights, folder / "run" / "model.safetensors")

    return apply


def _add(content: dict, amount: float) -> None:
    content["macro"]["aupr"] += amount


def _nudge(weights: dict, amount: float) -> None:
    weights["student.head.weight"] += amount


METRICS = "golden/evaluate/out/metrics.json"
TABLE = "golden/explain/out/sites.tsv"
PREDICTED = "golden/predict/out/predictions"
WRITTEN = "golden/predict-stream/out/prediction.json"
LOG = "run/metrics.jsonl"

FOUND: dict[str, tuple[Change, str]] = {
    "number": (_json(METRICS, lambda content: _add(content, 1e-4)), "macro.aupr"),
    "missing key": (_json(METRICS, lambda content: content["macro"].pop("aupr")), "macro.aupr"),
    "new key": (_json(METRICS, lambda content: content["macro"].update(new=1)), "macro.new"),
    "null": (_json(METRICS, lambda content: content["macro"].update(aupr=None)), "macro.aupr"),
    "whole number": (_json(METRICS, lambda content: content["pooled"].update(f1=0)), "pooled.f1"),
    "shorter list": (_json(METRICS, lambda content: content["training_alarms"].append({})), "training_alarms"),
    "renamed line": (_json(METRICS, lambda content: content["environments"].update(x=1)), "environments.x"),
    "no file": (lambda folder: (folder / TABLE).unlink(), "sites.tsv: file"),
    "new file": (lambda folder: (folder / "golden" / "new").touch(), "new: file"),
    "prediction": (_parquet(f"{PREDICTED}.parquet", lambda t: t.assign(potential=t["potential"] + 1e-4)), "potential"),
    "row": (_parquet(f"{PREDICTED}.parquet", lambda table: table.iloc[1:]), "rows"),
    "column": (_parquet(f"{PREDICTED}.parquet", lambda table: table.drop(columns="logit")), "logit"),
    "type": (_parquet(f"{PREDICTED}.parquet", lambda t: t.astype({"probability": "float32"})), "probability"),
    "label": (_parquet("dataset/pairs.parquet", lambda table: table.assign(label=1)), "label"),
    "last digit": (
        _parquet("dataset/pairs.parquet", lambda t: t.assign(distance=t["distance"] * (1 + 1e-12))),
        "distance",
    ),
    "text": (_text(f"{PREDICTED}.tsv", r"\t-?\d\.\d+", "\t9.9"), "byte"),
    "cell": (_text(TABLE, r"\t-?\d\.\d+\t", "\t9.9\t"), "line 2"),
    "no line": (_text(TABLE, r"\n[^\n]+\n$", "\n"), "number of lines"),
    "heading": (_text(TABLE, "effect", "effects"), "line 1 effect"),
    "log": (_text(LOG, r'"task": 0\.(\d)', r'"task": 1.\1'), "task"),
    "base": (_bytes("dataset/codes.npy", 4000), "byte 4000"),
    "weight": (_weights(lambda weights: _nudge(weights, 1e-4)), "student.head.weight"),
    "tensor": (_weights(lambda weights: weights.pop("student.head.weight")), "student.head.weight"),
    "said": (_text("golden/predict/stdout.txt", r"R_E \d", "R_E 9"), "stdout"),
    "warned": (_text("golden/predict/stderr.txt", "support of 18", "support of 19"), "stderr"),
}

PASSED: dict[str, Change] = {
    "rounding": _json(METRICS, lambda content: _add(content, 1e-9)),
    "time": _json(METRICS, lambda content: content["provenance"].update(time="2030-01-01T00:00:00+00:00")),
    "file time": _json(WRITTEN, lambda content: content["identity"].update(written=[1])),
    "version": _json("run/run.json", lambda content: content.update(episode_version="9.9.9")),
    "words": _json(METRICS, lambda content: [alarm.update(text=_other(alarm["text"])) for alarm in _alarms(content)]),
    "weight": _weights(lambda weights: _nudge(weights, 1e-8)),
    "said": _text("golden/predict/stdout.txt", "not seen in training", "new"),
}


def _alarms(content: dict) -> list[dict]:
    return content["training_alarms"]


def _other(text: str) -> str:
    """The same numbers in other words."""
    return "Note: " + re.sub(r"(?<![\w.])[a-z]+(?![\w.])", "word", text)


def compared(folder: Path) -> list[str]:
    """Compare the sample with a changed one, files and what was said."""
    result = Comparison()
    compare_folders(result, SAMPLE, folder)
    for name in ("predict", "evaluate"):
        compare_said(result, name, (SAMPLE / "golden" / name, folder / "golden" / name))
    return [str(difference) for difference in result.differences if ".txt:" not in str(difference)]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "sample"))


def test_a_copy_is_the_same(sample: Path) -> None:
    assert compared(sample) == []


@pytest.mark.parametrize(("change", "key"), FOUND.values(), ids=FOUND)
def test_found(sample: Path, change: Change, key: str) -> None:
    change(sample)
    found = compared(sample)
    assert 1 <= len(found) <= 3
    assert key in found[0]


@pytest.mark.parametrize("change", PASSED.values(), ids=PASSED)
def test_passed(sample: Path, change: Change) -> None:
    change(sample)
    assert compared(sample) == []


def page(*, rows: int = 2, number: str = "0.25", heading: str = "A page") -> str:
    table = f"<table>{'<tr><td>1,000</td></tr>' * rows}</table>"
    return f"<html><head><script>7</script></head><body><h1>{heading}</h1><p>{number}</p>{table}<svg><p>8</p></svg>"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (page(heading="Other words"), True),
        (page(heading="Version 3.2.1 of 2026-11-27T01:02:03+00:00, 3.2 s"), True),
        (page(number="0.26"), False),
        (page(rows=3), False),
        (page() + "<img>", False),
    ],
)
def test_pages(tmp_path: Path, other: str, *, same: bool) -> None:
    for name, text in (("one", page()), ("two", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(text)
    result = Comparison()
    compare_folders(result, tmp_path / "one", tmp_path / "two")
    assert (result.differences == []) is same


def recording(folder: Path, code: int, message: str, *, results: dict[str, int]) -> Path:
    """A recording of one step by hand."""
    step = folder / "wrong"
    (step / "out").mkdir(parents=True)
    facts = {"words": "x", "code": code, "facts": ["a.tsv:3", "label"], "quiet": False, "roots": {str(folder): "root"}}
    (step / "step.json").write_text(json.dumps(facts))
    (step / "stdout.txt").write_text("")
    (step / "stderr.txt").write_text(message)
    (step / "out" / "results.json").write_text(json.dumps(results))
    return folder


def test_facts_exit_codes_and_renamed_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recording(tmp_path / "before", 2, "error: a.tsv:3: label is 2", results={"rows": 1})
    worded = recording(tmp_path / "worded", 2, "error: row a.tsv:3 has a wrong label", results={"methods": 1})
    assert main([str(before), str(worded)]) == 0
    assert "1 steps, 1 files" in capsys.readouterr().out
    lost = recording(tmp_path / "lost", 2, "error: a.tsv has a wrong labels", results={"rows": 1})
    assert main([str(before), str(lost)]) == 1
    assert capsys.readouterr().out.count("not named") == 2
    ended = recording(tmp_path / "ended", 1, "error: a.tsv:3: label is 2", results={"rows": 2})
    assert main([str(before), str(ended)]) == 1
    said = capsys.readouterr().out
    assert "wrong: code: 2 -> 1" in said and "methods: 1 -> 2" in said
    (tmp_path / "empty").mkdir()
    assert main([str(before), str(tmp_path / "empty")]) == 1
