"""A run folder rebuilds the model with nothing else, and says so when it cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from safetensors.torch import load_file, save_file

from episode.checkpoint import (
    Alarm,
    Alarms,
    Domain,
    Provenance,
    RoleNames,
    Run,
    RunCalibration,
    RunFacts,
    load_run,
    load_state,
    save_run,
    save_state,
)
from episode.config import WindowConfig
from episode.data.pairs import Source
from episode.data.shortcuts import Shortcuts
from episode.encode.motifs import MotifBank
from episode.errors import CheckpointError
from episode.inference.scoring import score_rows
from episode.model.energy import EnergySystem, fuse
from episode.schema import Model, write_model
from resealed import reseal
from small_systems import MOTIFS, make_rows, make_store, make_system, small_config

CONFIG = small_config("losses.alpha=0.4")
FACTS = RunFacts(
    config=CONFIG,
    windows=WindowConfig(enhancer=500, promoter=0),
    seed=7,
    environments=("a", "b:ChIA-PET", "ü"),
    train_share=0.3,
    alpha=0.4,
    genome_sha256=None,
    shortcuts=Shortcuts(mean=np.linspace(0.1, 0.9, 9), deviation=np.linspace(1, 2, 9)),
    calibration=RunCalibration(
        temperature=0.7,
        offset=0.3,
        log_loss=None,
        residual_slope=None,
        impedance_error=0.4,
        impedance_environments=5,
        bootstrap_sd=0.1,
        pairs=40,
        training_impedance=3.0,
    ),
    roles=RoleNames(training=["a", "b:ChIA-PET", "ü"], pseudo_ood=[], validation=["v"]),
    domain=Domain(centre=np.array([0.1, 1 / 3]), spread=np.array([1.0, 2.0]), limit=1.7, smallest=32),
    provenance=Provenance(
        episode="0.1.0",
        torch="x",
        numpy="y",
        best_step=3,
        steps=4,
        epochs=0.5,
        sources=[Source(path="pairs.tsv", sha256="0" * 64, rows=40)],
        unseen_validation=True,
    ),
)


def bank() -> MotifBank:
    rng = np.random.default_rng(0)
    names = tuple(f"M{number}.1" for number in range(MOTIFS))
    return MotifBank(names, names, tuple(rng.dirichlet(np.full(4, 0.3), size=6) for _ in names))


def logits(system: EnergySystem) -> torch.Tensor:
    with torch.no_grad():
        output = score_rows(system.backbone, make_store(), make_rows(40))
        hidden = torch.full((40,), -1)
        student = system.student(system.set_encoder(output.representation, output.potential, hidden))
        return system(output.potential, fuse(system.teacher()[1], student, 0.5))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, EnergySystem]:
    system = make_system(CONFIG, environments=3)
    system.set_encoder.observe(torch.randn(20, system.backbone.representation_size), torch.randn(20))
    with torch.no_grad():
        system.temperature.offset.fill_(0.3)
        system.temperature.log_temperature.fill_(-0.2)
    folder = tmp_path / "run"
    save_run(folder, Run(FACTS, bank(), system))
    return folder, system


def test_the_rebuilt_model_gives_the_same_logits(saved: tuple[Path, EnergySystem]) -> None:
    folder, system = saved
    run = load_run(folder)
    assert isinstance(run, Run)
    assert torch.equal(logits(run.system), logits(system))
    assert not run.system.training
    assert not any(parameter.requires_grad for parameter in run.system.parameters())
    assert run.bank.hash == bank().hash


def test_facts_come_back_as_they_were(saved: tuple[Path, EnergySystem]) -> None:
    facts = load_run(saved[0]).facts
    for name in ("config", "windows", "seed", "environments", "train_share", "alpha", "genome_sha256"):
        assert getattr(facts, name) == getattr(FACTS, name)
    for name in ("calibration", "roles", "provenance"):
        assert getattr(facts, name) == getattr(FACTS, name)
    np.testing.assert_array_equal(facts.shortcuts.mean, FACTS.shortcuts.mean)
    np.testing.assert_array_equal(facts.shortcuts.deviation, FACTS.shortcuts.deviation)
    np.testing.assert_array_equal(facts.domain.centre, FACTS.domain.centre)
    np.testing.assert_array_equal(facts.domain.spread, FACTS.domain.spread)
    assert (facts.domain.limit, facts.domain.smallest) == (1.7, 32)


def test_the_folder_holds_text_and_safetensors_only(saved: tuple[Path, EnergySystem]) -> None:
    assert sorted(path.name for path in saved[0].iterdir()) == ["model.safetensors", "run.json"]
    json.loads((saved[0] / "run.json").read_text())


def test_distance_from_the_domain_by_hand() -> None:
    domain = Domain(centre=np.array([1.0, 2.0]), spread=np.array([0.5, 2.0]), limit=1.0, smallest=32)
    assert domain.distance(np.array([1.0, 2.0])) == 0
    assert domain.distance(np.array([2.0, 2.0])) == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("there", [False, True])
def test_no_run_there(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    with pytest.raises(CheckpointError, match=r"run: not a finished run \(no run\.json"):
        load_run(folder)


def test_an_unfinished_run_is_no_missing_one(tmp_path: Path) -> None:
    save_state(tmp_path / "resume.safetensors", {"x": torch.zeros(1)}, Words())
    with pytest.raises(CheckpointError, match="has not finished; resume it"):
        load_run(tmp_path)


@pytest.mark.parametrize("version", [0, 1, "2", None])
def test_another_format_version(saved: tuple[Path, EnergySystem], version: object) -> None:
    path = saved[0] / "run.json"
    content = json.loads(path.read_text()) | {"format_version": version}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"run\.json: format version .* reads 2"):
        load_run(saved[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"seed": 1}'])
def test_a_damaged_run_json(saved: tuple[Path, EnergySystem], text: str) -> None:
    (saved[0] / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        load_run(saved[0])


@pytest.mark.parametrize("key", ["config", "windows", "environments", "shortcuts", "domain", "bank", "calibration"])
def test_a_missing_entry(saved: tuple[Path, EnergySystem], key: str) -> None:
    path = saved[0] / "run.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=key):
        load_run(saved[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", []),
        ("config", {"zz": 1}),
        ("config", {"losses": {"alpha": "0.4"}}),
        ("config", {"backbone": {"width": 50}}),
        ("config", {}),
        ("windows", 3),
        ("windows", {"enhancr": 100}),
        ("environments", 3),
        ("shortcuts", None),
        ("domain", []),
        ("bank", {}),
    ],
)
def test_a_wrong_entry(saved: tuple[Path, EnergySystem], key: str, value: object) -> None:
    path = saved[0] / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match="run: damaged run"):
        load_run(saved[0])


def test_a_wrong_setting_is_named(saved: tuple[Path, EnergySystem]) -> None:
    path = saved[0] / "run.json"
    content = json.loads(path.read_text())
    content["config"]["training"]["stepps"] = 5
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="did you mean 'steps'"):
        load_run(saved[0])


def test_loading_leaves_the_global_generator_alone(saved: tuple[Path, EnergySystem]) -> None:
    before = torch.random.get_rng_state()
    load_run(saved[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_the_set_encoder_observed_comes_back(saved: tuple[Path, EnergySystem]) -> None:
    folder, system = saved
    reliability = load_run(folder).system.set_encoder.reliability()
    assert torch.equal(reliability, system.set_encoder.reliability())
    assert float(reliability.min()) > 0


def test_damaged_weights(saved: tuple[Path, EnergySystem]) -> None:
    path = saved[0] / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\x00" * 100, None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match="run: damaged"):
            load_run(saved[0])


def test_weights_of_another_model(saved: tuple[Path, EnergySystem], tmp_path: Path) -> None:
    other = tmp_path / "other"
    save_run(other, Run(FACTS.changed(environments=tuple("abcde")), bank(), make_system(CONFIG, environments=5)))
    (other / "model.safetensors").replace(saved[0] / "model.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        load_run(saved[0])


class Best(Model):
    model_config = ConfigDict(allow_inf_nan=True)

    step: int = 0
    best: float = 0.0


class Words(Model):
    progress: Best = Best()
    name: str = ""


def test_a_training_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "resume.safetensors"
    tensors = {
        "a": torch.randn(3, 4),
        "b.c": torch.tensor(5),
        "view": torch.arange(12).reshape(3, 4).T,
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    state = Words(progress=Best(step=3, best=float("inf")), name="ü")
    save_state(path, tensors, state)
    got, said = load_state(path, Words)
    assert said == state
    assert got.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(got[name], value) and got[name].dtype == value.dtype
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_saving_does_not_change_the_tensors(tmp_path: Path) -> None:
    value = torch.randn(3, requires_grad=True)
    save_state(tmp_path / "s", {"a": value}, Words())
    assert value.requires_grad
    got, _ = load_state(tmp_path / "s", Words)
    assert not got["a"].requires_grad


def test_a_damaged_training_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "resume.safetensors"
    save_state(path, {"a": torch.randn(100)}, Words())
    whole = path.read_bytes()
    for content in (b"", whole[:150], whole[:10], b"junk" * 50, None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"resume\.safetensors: damaged"):
            load_state(path, Words)


def test_a_file_of_another_kind_is_no_training_state(saved: tuple[Path, EnergySystem]) -> None:
    with pytest.raises(CheckpointError, match="damaged training state"):
        load_state(saved[0] / "model.safetensors", Words)


def test_alarms_travel_with_the_run(saved: tuple[Path, EnergySystem]) -> None:
    folder, system = saved
    assert load_run(folder).alarms == ()
    alarm = Alarm(name="weak_potential", text="cannot be told from chance")
    write_model(folder / "alarms.json", Alarms([alarm]))
    save_run(folder, Run(FACTS, bank(), system))
    assert load_run(folder).alarms == (alarm,)
    (folder / "alarms.json").write_text('[{"name": "weak_potential"}]')
    reseal(folder / "run.json")
    with pytest.raises(CheckpointError, match=r"alarms\.json: 0\.text: is missing"):
        load_run(folder)


def _edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    reseal(folder / "run.json")


NAME = "backbone.energy.linear.weight"
WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "one NaN": (lambda w: w[NAME].view(-1)[2].fill_(math.nan), "holds numbers that are not finite"),
    "one infinite": (lambda w: w[NAME].view(-1)[0].fill_(-math.inf), "holds numbers that are not finite"),
    "double": (lambda w: w.update({NAME: w[NAME].double()}), r"is float64 \(1, 8\); needed float32 \(1, 8\)"),
    "half": (lambda w: w.update({NAME: w[NAME].half()}), r"is float16 \(1, 8\); needed float32 \(1, 8\)"),
    "whole": (lambda w: w.update({NAME: w[NAME].int()}), r"is int32 \(1, 8\); needed float32 \(1, 8\)"),
    "transposed": (lambda w: w.update({NAME: w[NAME].T.contiguous()}), r"is float32 \(8, 1\); needed"),
    "flat": (lambda w: w.update({NAME: w[NAME].flatten()}), r"is float32 \(8,\); needed float32 \(1, 8\)"),
    "missing": (lambda w: w.pop(NAME), "is missing"),
    "renamed": (lambda w: w.update({NAME + "s": w.pop(NAME)}), "is missing|belongs to no part of the model"),
    "one more": (lambda w: w.update(extra=torch.zeros(3)), "extra belongs to no part of the model"),
}


@pytest.mark.parametrize(("change", "message"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_are_none_of_this_model(
    saved: tuple[Path, EnergySystem], change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    _edit_weights(saved[0], change)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*({message})"):
        load_run(saved[0])


@pytest.mark.parametrize(
    "numbers", [[math.nan, 0.5, 0.25, 0.25], [0.7, 0.1, 0.1, 0.0], [2.0, -1.0, 0.0, 0.0], [1.0]], ids=str
)
def test_a_matrix_of_the_bank_that_is_none(saved: tuple[Path, EnergySystem], numbers: list[float]) -> None:
    path = saved[0] / "run.json"
    content = json.loads(path.read_text())
    content["bank"]["motifs"][0]["probabilities"][0] = numbers
    path.write_text(json.dumps(content))
    if all(map(math.isfinite, numbers)):
        reseal(path)
    with pytest.raises(CheckpointError, match=r"damaged run|run\.json: not valid JSON \(the number NaN"):
        load_run(saved[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("environments",), ["ü", "b:ChIA-PET", "a"]),
        (("windows", "enhancer"), 499),
        (("calibration", "offset"), 0.30000000000000004),
        (("seed",), 8),
        (("episode_version",), "9"),
        (("files", "model.safetensors"), "0" * 64),
    ],
)
def test_any_other_value_in_run_json_is_told(
    saved: tuple[Path, EnergySystem], key: tuple[str, ...], value: object
) -> None:
    path = saved[0] / "run.json"
    content = json.loads(path.read_text())
    inner = content
    for name in key[:-1]:
        inner = inner[name]
    assert inner[key[-1]] != value
    inner[key[-1]] = value
    path.write_text(json.dumps(content, indent=2))
    with pytest.raises(CheckpointError, match=r"run/run\.json: was changed after it was written; take it from a copy"):
        load_run(saved[0])


def test_another_layout_of_the_same_content_is_no_change(saved: tuple[Path, EnergySystem]) -> None:
    path = saved[0] / "run.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items())), indent=7))
    load_run(saved[0])


def test_a_run_of_the_version_before_loads_with_a_warning(
    saved: tuple[Path, EnergySystem], caplog: pytest.LogCaptureFixture
) -> None:
    folder, system = saved
    path = folder / "run.json"
    content = json.loads(path.read_text())
    del content["files"], content["content_sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"run\.json: lacks the checksums of its files"):
        load_run(folder)
    path.write_text(json.dumps(content | {"format_version": 2}))
    assert torch.equal(logits(load_run(folder).system), logits(system))
    (record,) = caplog.records
    assert record.message.startswith(f"{folder}: was written by an older EPIsode, without checksums")


def test_a_training_state_with_another_number_is_told(tmp_path: Path) -> None:
    path = tmp_path / "resume.safetensors"
    save_state(path, {"a": torch.arange(100.0)}, Words(name="one"))
    whole = path.read_bytes()
    for old, new in ((b"one", b"two"), (whole[-4:], b"\x00\x00\x00\x00")):
        place = whole.rindex(old)
        path.write_bytes(whole[:place] + new + whole[place + len(old) :])
        with pytest.raises(CheckpointError, match=r"damaged training state \(it was changed after it was written\)"):
            load_state(path, Words)
