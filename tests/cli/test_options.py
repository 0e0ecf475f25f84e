"""Numbers among the options have a domain, threads are cut to the cores, and errors come with their own usage."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from episode.cli import options
from episode.cli.main import build_parser
from episode.cli.options import Real, Whole, cap_environment, integers, names, set_threads
from episode.threads import torch_threads, usable_cores
from tiny_world import dataset_folder
from tiny_world import episode as command

NO_NUMBERS = {None, Path, names, integers}


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of commands, without those that only lead to others."""
    places = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not places:
        yield parser
    for place in places:
        for inner in place.choices.values():
            yield from commands(inner)


NUMBERS = [
    pytest.param(parser.prog, action, id=f"{parser.prog} {action.dest}")
    for parser in commands(build_parser())
    for action in parser._actions
    if action.type not in NO_NUMBERS and getattr(action.type, "__name__", "") != "_renaming"
]
USAGES = [pytest.param(parser.prog, id=parser.prog) for parser in commands(build_parser())]


@pytest.mark.parametrize(("prog", "action"), NUMBERS)
def test_every_number_has_a_domain(prog: str, action: argparse.Action) -> None:
    assert isinstance(action.type, Whole | Real), "give the option a type with bounds"
    kind = action.type
    texts = ["x", "", "nan", "inf", "-inf", "1e400", "9" * 5000, str(10**30), str(-(10**30)), "[1]", "0x10", "1 2"]
    if isinstance(kind, Whole):
        texts += ["1e18", "0.5", "1e-300", str(kind.low - 1), str(kind.high + 1)]
    else:
        texts += ["-1", "1000000000000000000", str(kind.high + 1e-9)]
        texts += ([] if kind.reached else [str(kind.high)]) + ([] if kind.closed else [str(kind.low)])
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match="needed a") as caught:
            kind(text)
        assert len(str(caught.value)) < 200
    if isinstance(kind, Whole):
        assert (kind(str(kind.low)), kind(str(kind.high))) == (kind.low, kind.high)
    else:
        assert kind("1e-300") == 1e-300 and (not kind.closed or kind(str(kind.low)) == kind.low)
    if action.default is not None:
        assert kind(str(action.default)) == action.default


@pytest.mark.parametrize("prog", USAGES)
def test_an_unknown_option_shows_the_usage_of_its_command(prog: str) -> None:
    outcome = command(*prog.split()[1:], *("a" for _ in range(3)), "--out", "o", "--nosuch", "3")
    assert outcome.code == 2 and outcome.err.startswith(f"usage: {prog} [-h]"), outcome.err
    assert f"\n{prog}: error: " in outcome.err


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("data bild x", "episode data "),
        ("data --x build y --out o", "episode data "),
        ("tarin x", "episode "),
        ("--x report y", "episode "),
        ("", "episode "),
    ],
)
def test_a_wrong_command_shows_the_usage_of_what_leads_to_it(line: str, usage: str) -> None:
    outcome = command(*line.split())
    assert outcome.code == 2 and outcome.err.startswith(f"usage: {usage}[-h]"), outcome.err


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("data build a.tsv --out o b.tsv", "tables", ["a.tsv", "b.tsv"]),
        ("data build --out o a.tsv --seed 3 b.tsv c.tsv", "tables", ["a.tsv", "b.tsv", "c.tsv"]),
        ("predict run --out o a.tsv --genome g b.tsv", "pairs", ["a.tsv", "b.tsv"]),
        ("compare L --out o a.tsv --seed 1 b.tsv", "input", ["a.tsv", "b.tsv"]),
        ("data build --out o -- -a.tsv --b.tsv", "tables", ["-a.tsv", "--b.tsv"]),
        ("train --out o -- -dataset", "dataset", Path("-dataset")),
    ],
)
def test_files_may_stand_on_both_sides_of_options(line: str, name: str, expected: object) -> None:
    assert getattr(build_parser().parse_args(line.split()), name) == expected


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        ("100000", "2", "warning: OMP_NUM_THREADS 100,000: this process may use 2 cores; taking 2\n"),
        ("1" + "0" * 40, "2", "taking 2\n"),
        ("64,2", "2", "warning: OMP_NUM_THREADS 64"),
        ("2", "2", ""),
        ("1", "1", ""),
        ("many", "many", ""),
        ("", "", ""),
    ],
)
def test_threads_that_the_environment_asks_for_are_cut_to_the_cores(
    given: str, expected: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(options, "usable_cores", lambda: 2)
    for name in options.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    cap_environment()
    assert os.environ["OMP_NUM_THREADS"] == expected
    told = capsys.readouterr().err
    assert said in told and bool(said) == bool(told)
    assert "MKL_NUM_THREADS" not in os.environ


def test_more_threads_than_cores_are_cut_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with torch_threads(1):
        set_threads(100_000)
        assert torch.get_num_threads() == usable_cores()
        assert "--threads 100,000: this process may use" in capsys.readouterr().err
        set_threads(1)
        assert torch.get_num_threads() == 1
        set_threads(0)
        assert torch.get_num_threads() == 1
    assert capsys.readouterr().err == ""


def test_a_key_is_set_to_one_value(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    twice = ("--set", "training.steps=5", "--set", "training.steps=6")
    for line in (("train", dataset_folder()), ("encode", dataset_folder()), ("compare", "L", dataset_folder())):
        outcome = command(*line, *twice, *(() if line[0] == "encode" else out))
        need = "error: --set training.steps is given twice, 5 and 6; give it once\n"
        assert (outcome.code, outcome.err) == (2, need)
    assert not list(tmp_path.iterdir())


def test_a_seed_is_named_once() -> None:
    assert integers("0,2,1") == [0, 2, 1]
    with pytest.raises(argparse.ArgumentTypeError, match="names a seed twice"):
        integers("0,1,0")


def test_an_interrupt_while_a_library_is_loaded_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise ImportError("initialization failed") from cause

    monkeypatch.setattr("episode.report.page.write_report", load)
    cause: BaseException = KeyboardInterrupt()
    assert (command("report", tmp_path).code, command("report", tmp_path).err) == (130, "interrupted\n")
    cause = ValueError()
    with pytest.raises(ImportError):
        command("report", tmp_path)


@pytest.mark.parametrize("saved", ["resume.safetensors", "members/bank.json", None])
def test_an_interrupt_says_how_to_continue(saved: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, folder: Path, **__: object) -> None:
        if saved is not None:
            (folder / saved).parent.mkdir(parents=True)
            (folder / saved).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("episode.train.crossfit.train", interrupted)
    out = tmp_path / "my run"
    words = ["train", str(dataset_folder()), "--out", str(out), "--set", "training.steps=5", "--threads", "1"]
    outcome = command(*words)
    assert outcome.code == 130 and outcome.err.endswith("interrupted\n")
    again = shlex.join(["episode", *words, "--resume"])
    assert (f"continue it with: {again}\n" in outcome.err) == (saved is not None)
    assert build_parser().parse_args(shlex.split(again)[1:]).resume
