"""The training loop: the same bytes from the same seed, also across a kill; and what it refuses."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import episode.train.data as reading
import episode.train.finalize as closing
import episode.train.loop as loop
from episode import files
from episode.checkpoint import load_run, new_system
from episode.config import Config, WindowConfig, override
from episode.data.dataset import Dataset
from episode.encode.motifs import load_bank
from episode.encode.store import ElementStore, build_store
from episode.episodes.sampler import EnvironmentPool
from episode.errors import CheckpointError, DatasetError, EpisodeError
from episode.predict.pairs import predict_dataset
from episode.train.distributed import Processes
from episode.train.exposure_init import CONFIRMED
from episode.train.state import Start, claim_folder
from small_systems import all_rows, filled
from tiny_world import config, dataset, dataset_folder

LINES = ("train01", "train02", "train03", "train04", "train05")
SETTINGS = ("training.validate_every=2", "losses.alpha=adaptive", "episodes.train=1.0", "episodes.two_way=0.2")
FILES = ("model.safetensors", "run.json", "metrics.jsonl", "alarms.json")
LEARN, SETTLE = 6, 4
LAST = LEARN + SETTLE


class Killed(Exception):
    """Stands for whatever ends a process."""


read_bank = functools.cache(load_bank)


@pytest.fixture(autouse=True)
def one_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The motif bank is read and thinned once: it takes longer than so short a training run."""
    monkeypatch.setattr(reading, "load_bank", read_bank)


@functools.cache
def small() -> Dataset:
    return dataset().select(dataset().pairs["cell_line"].isin(LINES).to_numpy())


def train(folder: Path, *settings: str, seed: int = 0, data: Dataset | None = None, **options: object) -> Path:
    content = small() if data is None else data
    cache = dataset_folder() / "store"
    loop.train(content, config(*SETTINGS, *settings), seed=seed, folder=folder, cache=cache, **options)  # type: ignore[arg-type]
    return folder


def killer(at: int) -> Callable[[int, int, str], None]:
    def report(step: int, steps: int, text: str) -> None:
        if step == at:
            raise Killed

    return report


def content_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run that nothing interrupted."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = train(tmp_path_factory.mktemp("whole") / "run")
    torch.set_num_threads(threads)
    return folder


def assert_equal_runs(one: Path, other: Path) -> None:
    left, right = content_of(one), content_of(other)
    assert [name for name in FILES if left[name] != right[name]] == []


def test_what_a_finished_run_holds(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == sorted(FILES)
    run = load_run(whole)
    assert run.facts.config == config(*SETTINGS)
    assert run.facts.provenance.steps == LAST
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(LAST))
    checks = [(line["step"], line["stage"]) for line in lines if line["kind"] == "validation"]
    assert checks == [(2, "learn"), (4, "learn"), (6, "learn"), (8, "settle"), (10, "settle")]
    trained = {name for role in ("training", "pseudo_ood") for name in getattr(run.facts.roles, role)}
    assert trained == set(LINES) and set(run.facts.environments) == set(run.facts.roles.training)


def test_epochs_are_labelled_queries_over_labelled_pairs_to_learn_from(tmp_path: Path) -> None:
    """32 queries a task, none of them two-way, mixed or thinned."""
    table = small().pairs.copy()
    unknown = np.arange(len(table)) % 2 == 0
    table.loc[unknown, "label"] = np.int8(-1)
    told = {}
    for name, data in (("all", small()), ("half", replace(small(), pairs=table))):
        settings = ("episodes.two_way=0", "episodes.mixed=0", "episodes.prior_shift=0")
        facts = load_run(train(tmp_path / name, *settings, data=data)).facts
        trained = [*facts.roles.training, *facts.roles.pseudo_ood]
        rows = data.pairs[data.pairs["environment"].isin(trained)]
        told[name] = facts.provenance.epochs * ((rows["label"] >= 0) & (rows["split"] == "train")).sum()
        assert facts.provenance.queried == pytest.approx(told[name])
    assert told["all"] == pytest.approx(LAST * 4 * 32)
    assert 0.4 * told["all"] < told["half"] < 0.6 * told["all"]


def test_the_backbone_does_not_move_while_the_rest_settles(tmp_path: Path) -> None:
    """The weights that settling ends with have the Backbone of the best step of learning."""
    short = load_run(train(tmp_path / "short", "training.settle_steps=0")).system.state_dict()
    long = load_run(train(tmp_path / "long")).system.state_dict()
    for name, value in short.items():
        if name.startswith("backbone."):
            assert value.equal(long[name]), name
    assert any(not value.equal(long[name]) for name, value in short.items() if name.startswith("student."))


@pytest.mark.parametrize(("keep", "kept", "steps"), [("best", 2, 4), ("last", LEARN, LEARN)])
def test_which_step_is_kept_where_validation_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str, kept: int, steps: int
) -> None:
    falling = itertools.count(0, -1)
    monkeypatch.setattr(loop, "mean_of_known", lambda *_: float(next(falling)))
    settings = ("training.settle_steps=0", "training.patience=1", f"training.keep={keep}")
    provenance = load_run(train(tmp_path / "run", *settings)).facts.provenance
    assert (provenance.best_step, provenance.steps) == (kept, steps)


def test_the_same_seed_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    assert_equal_runs(train(tmp_path / "again"), whole)


def test_encoded_elements_in_place_of_a_cache(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = build_store(small(), read_bank(config().stem), config().stem, dataset_folder() / "store")
    monkeypatch.setattr(reading, "build_store", None)
    assert_equal_runs(train(tmp_path / "given", store=store), whole)
    fewer = ElementStore.of(all_rows(store)[: int(store.bins[:-1].sum())], store.bins[:-1], store.hash)
    for wrong in (fewer, ElementStore.of(all_rows(store)[:, :, 1:], store.bins, store.hash)):
        with pytest.raises(
            ValueError, match=rf"holds {len(wrong)} elements in rows of \(2, {wrong.n_motifs}\); needed are"
        ):
            train(tmp_path / "wrong", store=wrong)
    assert not (tmp_path / "wrong").exists()


def test_another_seed_gives_another_model(whole: Path, tmp_path: Path) -> None:
    other = content_of(train(tmp_path / "other", seed=1))
    assert other["model.safetensors"] != content_of(whole)["model.safetensors"]
    assert other["metrics.jsonl"] != content_of(whole)["metrics.jsonl"]


@pytest.mark.parametrize("at", [1, 3, 4, LEARN, LEARN + 1, LEARN + 3, LAST])
def test_resume_equals_no_interruption(whole: Path, tmp_path: Path, at: int) -> None:
    """Killed before the first save, between saves, at a save, at the change of stage, while settling, at the end."""
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        train(folder, report=killer(at))
    assert not (folder / "run.json").exists()
    with pytest.raises(CheckpointError, match="not finished; resume it first"):
        load_run(folder)
    assert_equal_runs(train(folder, resume=True), whole)
    assert not (folder / "resume.safetensors").exists()


def test_resume_after_a_kill_while_saving_the_run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Killed

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(closing, "save_run", fail)
        with pytest.raises(Killed):
            train(folder)
    assert_equal_runs(train(folder, resume=True), whole)


def test_resume_of_a_resumed_training(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for at, resume in ((3, False), (5, True), (9, True)):
        with pytest.raises(Killed):
            train(folder, report=killer(at), resume=resume)
    assert_equal_runs(train(folder, resume=True), whole)


def test_resume_after_sigkill(whole: Path, tmp_path: Path) -> None:
    """A process that is killed for good, in the middle of a step's bookkeeping."""
    code = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
import torch
torch.set_num_threads(1)
from pathlib import Path
import episode.train.loop as loop
from episode.config import Config
from episode.data.storage import load_dataset

def report(step, steps, text):
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

data = load_dataset({str(dataset_folder())!r})
data = data.select(data.pairs["cell_line"].isin({LINES!r}).to_numpy())
config = Config.model_validate({_settings()!r})
cache = Path({str(dataset_folder() / "store")!r})
loop.train(data, config, seed=0, folder=Path({str(tmp_path / "run")!r}), cache=cache, report=report)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "run" / "resume.safetensors").exists()
    assert_equal_runs(train(tmp_path / "run", resume=True), whole)


def _settings() -> dict[str, object]:
    return config(*SETTINGS).model_dump()


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "run"
    with pytest.raises(Killed):
        train(folder, report=killer(4))
    return folder


def test_resume_refuses_another_training(broken_off: Path) -> None:
    before = {path.name: path.read_bytes() for path in broken_off.iterdir()}
    with pytest.raises(CheckpointError, match="was started with another seed"):
        train(broken_off, resume=True, seed=1)
    with pytest.raises(CheckpointError, match="was started with another config"):
        train(broken_off, "training.steps=8", resume=True)
    fewer = small().select(np.arange(len(small().pairs)) % 9 > 0)
    with pytest.raises(CheckpointError, match="was started with another pairs"):
        train(broken_off, resume=True, data=fewer)
    source = small().manifest.sources[0].changed(sha256="0" * 64)
    changed = replace(small(), manifest=small().manifest.changed(sources=(source,)))
    with pytest.raises(CheckpointError, match="was started with another sources"):
        train(broken_off, resume=True, data=changed)
    codes = np.array(small().codes)
    codes[0] = (codes[0] + 1) % 4
    with pytest.raises(CheckpointError, match="was started with another store"):
        train(broken_off, resume=True, data=replace(small(), codes=codes))
    assert {path.name: path.read_bytes() for path in broken_off.iterdir()} == before


def test_an_unfinished_run_is_not_started_over(broken_off: Path) -> None:
    with pytest.raises(EpisodeError, match="exists already and is not empty; resume it with --resume, or remove it"):
        train(broken_off)


def test_resume_begins_where_there_is_nothing_yet(whole: Path, tmp_path: Path) -> None:
    """No folder; one of a training killed before its first state, with what it left half-written."""
    assert_equal_runs(train(tmp_path / "none", "training.settle_steps=0", resume=True), fresh := tmp_path / "none")
    left = tmp_path / "left"
    left.mkdir()
    (left / "metrics.jsonl").touch()
    (left / ".lock").touch()
    (left / dead_part("resume.safetensors")).write_bytes(b"half")
    elsewhere = ".run.json.00000000-1-1-x.part"  # of another machine: nobody can tell whether it lives
    (left / elsewhere).write_bytes(b"half")
    train(left, "training.settle_steps=0", resume=True)
    assert sorted(path.name for path in left.iterdir()) == sorted([*FILES, elsewhere])
    assert_equal_runs(left, fresh)


def test_resume_leaves_a_finished_run_as_it_is(whole: Path, tmp_path: Path) -> None:
    before, told = content_of(whole), []
    for resume, folder in ((True, whole), (False, tmp_path / "again")):
        content, cache = small(), dataset_folder() / "store"
        result = loop.train(content, config(*SETTINGS), seed=0, folder=folder, cache=cache, resume=resume)
        told.append(replace(result, folder=whole))
    assert told[0] == told[1] and content_of(whole) == before
    with pytest.raises(CheckpointError, match="holds a finished run of another seed"):
        train(whole, resume=True, seed=1)
    with pytest.raises(CheckpointError, match="holds a finished run of another config"):
        train(whole, "training.steps=8", resume=True)
    table = small().pairs.copy()
    known = table["split"] == "train"
    table.loc[known, "label"] = table[known].groupby("environment")["label"].transform(lambda part: np.roll(part, 1))
    with pytest.raises(CheckpointError, match="holds a finished run of another pairs; resume needs the same"):
        train(whole, resume=True, data=replace(small(), pairs=table))
    codes = np.array(small().codes)
    codes[0] = (codes[0] + 1) % 4
    with pytest.raises(CheckpointError, match="holds a finished run of another store"):
        train(whole, resume=True, data=replace(small(), codes=codes))
    other = small().manifest.changed(windows=WindowConfig(enhancer=512, promoter=0))
    with pytest.raises(CheckpointError, match="holds a finished run of another windows"):
        train(whole, resume=True, data=replace(small(), manifest=other))
    assert sorted(path.name for path in whole.iterdir()) == sorted(FILES)


def test_resume_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".other.abcd.part").write_text("of another")
    with pytest.raises(CheckpointError, match=r"nothing to resume .* and \.other\.abcd\.part is in the way"):
        train(tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.abcd.part", "mine.txt"]


def dead_part(name: str) -> str:
    """What a process that has ended would have been writing `name` under."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    return files._prefix(Path(name)).replace(f"-{os.getpid()}-", f"-{ended.pid}-") + "x.part"


def test_two_runs_into_one_folder(whole: Path, tmp_path: Path) -> None:
    """The second is refused while the first one lives, and takes away nothing of it."""
    folder, refused = tmp_path / "run", []

    def meanwhile(step: int, steps: int, text: str) -> None:
        if step == 4:
            (folder / ".resume.safetensors.abcd1234.part").write_bytes(b"being written")
            for resume in (True, False):
                with pytest.raises(EpisodeError, match="another process is training into it"):
                    train(folder, resume=resume)
                refused.append((folder / ".resume.safetensors.abcd1234.part").exists())

    train(folder, report=meanwhile)
    assert refused == [True, True]
    assert_equal_runs(folder, whole)


def test_without_locks_nothing_of_a_living_training_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim goes through, as the file system cannot tell; what this living process writes stays."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", fail)
    living = files._prefix(tmp_path / "resume.safetensors") + "x.part"
    for name in (living, dead_part("run.json")):
        (tmp_path / name).write_bytes(b"half")
    with claim_folder(tmp_path, Processes.alone(config().training), resume=True) as start:
        assert start is Start.NEW
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".lock", living])
    assert [path.name for path in tmp_path.iterdir()] == [living]


def test_a_state_is_saved_by_time_between_validations(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_AFTER", -1.0)
    with pytest.raises(Killed):
        train(tmp_path / "run", report=killer(3))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if json.loads(line)["kind"] == "train"] == [0, 1, 2]
    assert_equal_runs(train(tmp_path / "run", resume=True), whole)


def test_a_folder_in_use_is_refused(whole: Path, tmp_path: Path) -> None:
    before = content_of(whole)
    with pytest.raises(EpisodeError, match="exists already and is not empty; give a new folder or remove it"):
        train(whole)
    assert content_of(whole) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EpisodeError):
        loop.train(small(), config(), seed=0, folder=tmp_path / "file", cache=dataset_folder() / "store")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("part", ["metrics.jsonl", "resume.safetensors"])
def test_damaged_state(tmp_path: Path, part: str) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        train(folder, report=killer(2))
    if part == "metrics.jsonl":
        (folder / part).unlink()
    else:
        (folder / part).write_bytes((folder / part).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=part):
        train(folder, resume=True)


def test_data_that_cannot_train(tmp_path: Path) -> None:
    for label in (-1, 1):
        table = small().pairs.assign(label=np.int8(label))
        with pytest.raises(DatasetError, match="both labels"):
            train(tmp_path / "run", data=replace(small(), pairs=table))
    with pytest.raises(DatasetError, match="no training rows"):
        train(tmp_path / "run", data=replace(small(), pairs=small().pairs.assign(split="test")))
    assert not (tmp_path / "run").exists()


def test_test_rows_are_not_read(whole: Path, tmp_path: Path) -> None:
    """Rows of split "test" may have any label: not a byte of the weights or the log depends on them."""
    chosen = dataset().pairs["cell_line"].isin([*LINES, "unseen01"]).to_numpy()
    runs = []
    for name in ("first", "second"):
        content = dataset().select(chosen)
        test = (content.pairs["split"] == "test").to_numpy()
        assert test.any()
        if name == "second":
            table = content.pairs.copy()
            table.loc[test, "label"] = 1 - table.loc[test, "label"]
            content = replace(content, pairs=table)
        runs.append(train(tmp_path / name, data=content))
    assert_equal_runs(*runs)


def test_an_environment_with_one_class_trains_as_unlabelled(tmp_path: Path) -> None:
    table = small().pairs.copy()
    table.loc[table["cell_line"] == "train02", "label"] = np.int8(0)
    run = load_run(train(tmp_path / "run", data=replace(small(), pairs=table)))
    assert "train02" in run.facts.roles.training + run.facts.roles.pseudo_ood


def test_configuration_rebuilds_the_model(whole: Path) -> None:
    assert isinstance(load_run(whole).facts.config, Config)
    assert load_run(whole).facts.seed == 0


@pytest.mark.parametrize(
    "stem",
    [
        ("stem.kind=conv", "stem.filters=6", "stem.gate=CTCF"),
        ("stem.kind=conv", "stem.filters=2", "stem.known=true", "stem.min_information=19"),
        ("stem.kind=kmer", "stem.filters=6", "stem.kmer=4"),
    ],
    ids=["free", "known", "kmer"],
)
def test_a_trainable_stem_resumes_rebuilds_and_moves(tmp_path: Path, stem: tuple[str, ...]) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    train(one, *stem)
    with pytest.raises(Killed):
        train(other, *stem, report=killer(LEARN - 1))
    assert_equal_runs(train(other, *stem, resume=True), one)
    run = load_run(one)
    state = load_file(one / "model.safetensors")
    names = [name for name in state if name.startswith("backbone.stem.")]
    first = new_system(run.facts.config, run.bank, len(run.facts.environments), 0.0).state_dict()
    assert names and all(state[name].shape == first[name].shape for name in names)
    known = "stem.known=true" in stem
    assert (len(run.bank) > 0) == known and (run.bank.gate is not None) == ("stem.gate=CTCF" in stem)
    if known:
        moved = [(state[name] - first[name]).abs().max() for name in names[:-1]]
        assert 0 < float(max(moved)) < 0.2, "known filters start from the bank and are fine-tuned"
    test = dataset().select((dataset().pairs["split"] == "test").to_numpy())
    store = build_store(test, run.bank, run.facts.config.stem, dataset_folder() / "store")
    assert store.dtype == np.uint8
    potential = predict_dataset(run, test, store).pairs["potential"]
    assert float(potential.std()) > 0
    np.testing.assert_array_equal(predict_dataset(load_run(one), test, store).pairs["potential"], potential)


def test_a_gated_training_resumes_rebuilds_and_ranks_by_its_gate(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    train(one, "stem.gate=CTCF")
    with pytest.raises(Killed):
        train(other, "stem.gate=CTCF", report=killer(LEARN - 1))
    assert_equal_runs(train(other, "stem.gate=CTCF", resume=True), one)
    run = load_run(one)
    assert run.bank.gate is not None and run.system.backbone.gate_head is not None
    assert float(run.system.backbone.gate_head.spread[0]) != 1.0, "standardised by the training elements"
    test = dataset().select((dataset().pairs["split"] == "test").to_numpy())
    store = build_store(test, run.bank, run.facts.config.stem, dataset_folder() / "store")
    assert store.gate is not None
    potential = predict_dataset(run, test, store).pairs["potential"]
    silent = replace(store, gate=filled(store.gate, -30))
    assert (predict_dataset(run, test, silent).pairs["potential"] - potential).std() > 1e-3


def test_a_spectrum_is_resumed_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings = ("impedance.channels=2",)
    through = train(tmp_path / "through", *settings)
    with pytest.raises(Killed):
        train(tmp_path / "killed", *settings, report=killer(LEARN + 3))
    assert_equal_runs(train(tmp_path / "killed", *settings, resume=True), through)
    system = load_run(through).system
    assert system.teacher().shape == (len(load_run(through).facts.environments), 2)


def test_a_spectrum_that_found_nothing_says_so(whole: Path, tmp_path: Path) -> None:
    """So short a run of so few cell lines: no direction can be confirmed."""
    folder = train(tmp_path / "run", "impedance.channels=3")
    (entry,) = spectrum_entries(folder)
    assert (entry["step"], entry["wanted"], entry["kept"]) == (LEARN, 2, 0)
    assert len(entry["p"]) == entry["found"] and all(value > CONFIRMED for value in entry["p"])
    named = [alarm["name"] for alarm in json.loads((folder / "alarms.json").read_text())]
    assert "idle_spectrum" in named
    assert not spectrum_entries(whole)
    assert "idle_spectrum" not in (whole / "alarms.json").read_text()


def spectrum_entries(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "spectrum"]


def test_steps_within_a_number_of_epochs() -> None:
    """Environments of 100 and 40 labelled pairs, query 32: tasks of 32 and 20 pairs, 4 a step; 2 epochs are 280."""
    settings = ["episodes.query=32", "episodes.support_max=64", "episodes.two_way=0.5", "training.epochs=2"]
    pools = [
        EnvironmentPool(name, np.arange(size), np.arange(size), np.repeat([0, -1], [labelled, size - labelled]), None)
        for name, size, labelled in (("a", 130, 100), ("b", 40, 40))
    ]
    settings += ["episodes.train=0.5", "episodes.pseudo_ood=0.2", "episodes.prior_shift=0.1", "episodes.mixed=0.2"]
    pairs = 0.8 * 1.5 * (32 + 20) / 2  # of a task
    assert loop.steps_within(override(Config(), settings), pools) == math.ceil(280 / (4 * pairs)) == 3
    assert loop.steps_within(override(Config(), [*settings, "training.steps=2"]), pools) == 2
    assert loop.steps_within(override(Config(), settings[:3]), pools) == 1000
