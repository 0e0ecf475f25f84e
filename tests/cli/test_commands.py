"""What all commands have in common, and what those with a model say to a user who errs."""

from __future__ import annotations

import functools
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import episode.demo
from episode.cli.main import COMMANDS, build_parser
from episode.demo import DemoResult
from episode.evaluate.results import EnvironmentSummary, EvaluationResults, TruthSummary
from episode.metrics.metrics import Metrics
from episode.simulate import PRESETS
from tiny_world import Outcome, as_options, config, dataset_folder, rows_of, run_folder, world
from tiny_world import episode as command

LINES = [["data", "build"] if name == "data" else [name] for name in COMMANDS]


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_help_has_an_example_a_seed_and_json(words: list[str]) -> None:
    outcome = command(*words, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"examples:\n  episode {' '.join(words)} " in outcome.out
    assert "--seed SEED" in outcome.out and "--json" in outcome.out


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_examples_are_commands_that_parse(words: list[str]) -> None:
    text = command(*words, "--help").out.split("examples:\n")[1]
    examples = [line for line in text.splitlines() if line.startswith("  episode ")]
    assert examples
    for example in examples:
        assert build_parser().parse_args(shlex.split(example)[1:]).command in COMMANDS
    assert examples[0].split()[1 : 1 + len(words)] == words


# -- one JSON document ------------------------------------------------------------------------------------------------


def one_document(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert isinstance(content, dict)
    return content


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    rows_of("unseen01").drop(columns="label").to_csv(path, sep="\t", index=False)
    return path


def predict(table: Path, *options: object) -> Outcome:
    return command("predict", run_folder(), table, "--genome", world() / "genome.fa", *options)


def test_json_of_predict(table: Path, tmp_path: Path) -> None:
    content = one_document(predict(table, "--out", tmp_path / "out", "--json", "--write", "tsv"))
    assert content["out"] == str(tmp_path / "out")
    assert content["pairs"] == len(pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t"))
    written = pd.read_csv(tmp_path / "out" / "environments.tsv", sep="\t").iloc[0]
    [entry] = content["environments"]
    assert entry["environment"] == "unseen01" and entry["r_teacher"] is None
    assert entry["r_used"] == pytest.approx(written["r_used"], rel=1e-5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "environments.tsv",
        "prediction.json",
        "predictions.tsv",
    ]


def test_json_of_evaluate_and_report(tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    options = ("--split", "test", "--cell-lines", "unseen01,unseen02", "--out", out, "--json")
    content = one_document(command("evaluate", run_folder(), dataset_folder(), *options))
    written = json.loads((out / "metrics.json").read_text())
    assert {key: written[key] for key in content} == content
    assert list(content["environments"]) == ["unseen01", "unseen02"]
    content = one_document(command("report", out, "--json"))
    assert content["page"] == str(out / "index.html")
    assert all(Path(path).is_file() for path in content["files"])


def test_json_of_simulate(tmp_path: Path) -> None:
    content = one_document(command("simulate", "--preset", "tiny", "--out", tmp_path / "world", "--json"))
    assert content["pairs"] == len(pd.read_csv(tmp_path / "world" / "pairs.tsv", sep="\t"))


# -- the demo, small --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    small = functools.partial(episode.demo.run_demo, preset=PRESETS["tiny"], config=config())
    monkeypatch.setattr(episode.demo, "run_demo", small)


@pytest.mark.usefixtures("small_demo")
def test_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo-out"
    outcome = command("demo", "--out", out)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-2:] == [f"page: {out / 'index.html'}", f"numbers: {out / 'metrics.json'}"]
    content = json.loads((out / "metrics.json").read_text())
    assert list(content["environments"]) == ["unseen01", "unseen02", "unseen03", "unseen04"]
    assert "4 unseen cell lines" in outcome.out and "oracle impedance" in outcome.out
    assert f"Spearman {content['truth']['spearman_impedance']:.2f} with the truth" in outcome.out
    known = json.loads((out / "known" / "metrics.json").read_text())["environments"]
    assert known and all(entry["known"] for entry in known.values())
    assert (out / "index.html").stat().st_size > 10_000 and any((out / "figures").iterdir())
    again = command("demo", "--out", out)
    assert again.code == 2 and "exists already and is not empty" in again.err


def test_demo_of_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table over seeds, from made-up results."""

    def made_up(folder: Path, *, seed: int, **_: object) -> DemoResult:
        number = 0.5 + seed / 8
        unseen = EvaluationResults.model_construct(
            truth=TruthSummary.model_construct(
                spearman_impedance=number,
                oracle_gain_share=number,
                macro_aupr_over_bayes=number,
                interval_coverage=number,
                log_loss_mean_impedance=0.7,
            ),
            pooled=Metrics.model_construct(log_loss=0.6 - seed / 10),
            environments={
                "a": EnvironmentSummary.model_construct(collapsed=False),
                "b": EnvironmentSummary.model_construct(collapsed=seed == 2),
            },
        )
        pooled = Metrics.model_construct(aupr_potential=0.4, aupr=0.5)
        return DemoResult(seed, folder, unseen, EvaluationResults.model_construct(pooled=pooled))

    monkeypatch.setattr(episode.demo, "run_demo", made_up)
    summary = one_document(command("demo", "--out", tmp_path, "--seeds", "0,2", "--json"))
    assert summary["spearman_impedance"] == {"mean": 0.625, "min": 0.5, "max": 0.75}
    assert summary["log_loss"] == {"mean": pytest.approx(0.5), "min": pytest.approx(0.4), "max": 0.6}
    assert summary["collapsed"] == {"mean": 0.5, "min": 0.0, "max": 1.0}
    written = json.loads((tmp_path / "seeds.json").read_text())
    assert written["summary"] == summary and list(written["seeds"]) == ["0", "2"]
    table = pd.read_csv(tmp_path / "seeds.tsv", sep="\t", index_col="seed")
    assert table["log_loss"].to_dict() == {0: 0.6, 2: 0.4}
    assert list(table.columns) == list(summary)


# -- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.stps=4"], "unknown key 'stps'; did you mean 'steps'?"),
        (["--set", "traning.steps=4"], "unknown key 'traning'; did you mean 'training'?"),
        (["--set", "training.patience"], "needed section.key=value, such as training.steps=500"),
        (["--set", "training.patience=many"], "training.patience: needed a whole number, got 'many'"),
        (["--set", "training.patience=-1"], "training.patience: needed at least 1, got -1"),
        (["--set", "training.steps=7"], "--set training.steps is given twice, 6 and 7; give it once"),
        (["--config", "nosuch.toml"], "nosuch.toml: no such file"),
        (["--chromosomes", "chr1"], "chromosome 'chr1' is not in the dataset, which has sim1, "),
        (["--chromosomes", "sim1,sim99"], "chromosome 'sim99' is not in the dataset"),
        (["--cell-lines", "train1"], "did you mean 'train01'?"),
        (["--split", "test"], "no training rows"),
        (["--split", "train", "--cell-lines", "unseen01"], "no pair of the dataset meets --split, --cell-lines"),
        (["--devices", "0"], "argument --devices: needed a whole number from 1 to 1,024, got '0'"),
        (["--accumulate", "-1"], "argument --accumulate: needed a whole number from 1 to 10,000, got '-1'"),
        (["--set", "stem.release=JASPAR1999"], "not a JASPAR release"),
        (["--seed", "one"], "argument --seed: needed a whole number from -9,223,"),
        (["--chromosomes", ","], "names nothing; needed a list such as A,B"),
    ],
)
def test_train_used_wrongly(tmp_path: Path, options: list[str], message: str) -> None:
    outcome = command("train", dataset_folder(), "--out", tmp_path / "run", *as_options(), *options)
    assert outcome.code == 2 and outcome.out == ""
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_config_file_is_read_and_its_typos_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[training]\nstep = 5\n")
    outcome = command("train", dataset_folder(), "--config", path, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert f"{path}: training: unknown key 'step'; did you mean 'steps'?" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "WORLD", "--out", "OUT"], "manifest.json: no such file; needs the manifest of a dataset"),
        (["train", "nosuch", "--out", "OUT"], "nosuch: no such folder; needs a dataset folder"),
        (["train", "RUN", "--out", "OUT"], "needs the manifest of a dataset"),
        (["evaluate", "DATASET", "RUN", "--out", "OUT"], "not a finished run (no run.json there)"),
        (["evaluate", "RUN", "WORLD", "--out", "OUT"], "needs the manifest of a dataset"),
        (["evaluate", "RUN", "DATASET", "--truth", "WORLD", "--out", "OUT"], "environments.tsv: no such file"),
        (["evaluate", "RUN", "DATASET", "--cell-lines", "unseen1", "--out", "OUT"], "did you mean 'unseen01'?"),
        (["evaluate", "RUN", "DATASET", "--split", "test", "--known-only", "--out", "OUT"], "known to the Teacher"),
        (["predict", "TABLE", "RUN", "--out", "OUT"], "not a finished run (no run.json there)"),
        (["predict", "RUN", "nosuch.tsv", "--out", "OUT"], "nosuch.tsv: no such file"),
        (["predict", "RUN", "TABLE", "--out", "OUT"], "TABLE:2: the sequence of enhancer"),
        (["predict", "RUN", "TABLE", "--genome", "no.fa", "--out", "OUT"], "no.fa: no such file"),
        (["predict", "RUN", "TABLE", "--genome", "TABLE", "--out", "OUT"], "needs FASTA (plain or BGZF) or 2bit"),
        (["predict", "RUN", "TABLE", "--write", "tvs", "--out", "OUT"], "needed a list of parquet, tsv, bedpe, "),
        (
            ["predict", "RUN", "TABLE", "--batch-size", "0", "--out", "OUT"],
            "argument --batch-size: needed a whole number from 1 to 1,000,000, got '0'",
        ),
        (["report", "RUN"], "metrics.json: no such file"),
        (["report", "nosuch"], "nosuch/metrics.json: no such file"),
        (["demo", "--out", "WORLD"], "exists already and is not empty"),
        (["demo", "--seeds", "0,a", "--out", "OUT"], "argument --seeds: needed a whole number from -9,223,"),
    ],
)
def test_wrong_files_and_folders(tmp_path: Path, table: Path, words: list[str], message: str) -> None:
    known = {
        "WORLD": world(),
        "DATASET": dataset_folder(),
        "RUN": run_folder(),
        "TABLE": table,
        "OUT": tmp_path / "out",
    }
    outcome = command(*(known.get(word, word) for word in words))
    assert outcome.code == 2 and outcome.out == ""
    assert message.replace("TABLE", str(table)) in outcome.err
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; needs at least one pair"),
        ("HEADER", "has a header but no rows"),
    ],
)
def test_tables_of_nothing(table: Path, tmp_path: Path, content: str, message: str) -> None:
    header = table.read_text().splitlines()[0]
    table.write_text(content.replace("HEADER", header + "\n"))
    outcome = predict(table, "--out", tmp_path / "out")
    assert outcome.code == 2 and message in outcome.err and str(table) in outcome.err
    assert not (tmp_path / "out").exists()


def test_an_output_in_use_is_left_alone(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("dear diary")
    genome = ("--genome", world() / "genome.fa")
    for words in (
        ("predict", run_folder(), table, *genome),
        ("evaluate", run_folder(), dataset_folder(), "--split", "test"),
        ("train", dataset_folder(), *as_options()),
    ):
        outcome = command(*words, "--out", out)
        assert outcome.code == 2 and f"{out}: exists already and is not empty" in outcome.err
        assert [path.name for path in out.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("part", ["run.json", "model.safetensors"])
def test_a_damaged_run(table: Path, tmp_path: Path, part: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder(), folder)
    whole = (folder / part).read_bytes()
    for content in (whole[: len(whole) // 2], None):
        if content is None:
            (folder / part).unlink()
        else:
            (folder / part).write_bytes(content)
        outcome = command("predict", folder, table, "--genome", world() / "genome.fa", "--out", tmp_path / "out")
        assert outcome.code == 2 and outcome.err.startswith(f"error: {folder}")
        assert not (tmp_path / "out").exists()


def test_a_run_of_another_format_version(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_folder(), folder)
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | {"format_version": 99}))
    outcome = command("predict", folder, table, "--out", tmp_path / "out")
    assert outcome.code == 2 and "format version 99, but this EPIsode reads 2" in outcome.err
