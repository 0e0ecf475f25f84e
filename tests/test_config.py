"""The configuration: typed, strict, and the same after a round trip."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from episode.config import Config, StemConfig, WindowConfig, load_config, override
from episode.errors import ConfigError, EpisodeError
from episode.schema import parse_model


def from_dict(content: dict[str, Any]) -> Config:
    return parse_model(content, Config, where="config")


def test_defaults_are_valid_and_frozen() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.stem = StemConfig()


def test_round_trip_through_json() -> None:
    config = override(Config(), ["training.steps=7", "losses.alpha=0.3", "environment.fusion_weight=0.25"])
    again = from_dict(json.loads(json.dumps(config.model_dump())))
    assert again == config
    assert again != Config()


def test_missing_keys_take_their_defaults() -> None:
    config = from_dict({"training": {"steps": 3}})
    assert config == Config().changed(training=Config().training.changed(steps=3))
    assert from_dict({}) == Config()
    assert parse_model({"enhancer": 100}, WindowConfig, where="windows") == WindowConfig(enhancer=100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trainin": {}}, r"config: unknown key 'trainin'; did you mean 'training'\?"),
        ({"training": {"step": 1}}, r"config: training: unknown key 'step'; did you mean 'steps'\?"),
        ({"zzz": 1}, "known keys: stem, backbone"),
        ({"training": {"steps": "many"}}, r"config: training\.steps: needed a whole number, got 'many'"),
        ({"training": {"steps": 1.5}}, r"config: training\.steps: needed a whole number, got 1\.5"),
        ({"training": {"steps": True}}, r"config: training\.steps: needed a whole number, got True"),
        ({"training": {"clip": True}}, r"config: training\.clip: needed a number, got True"),
        ({"training": 3}, r"config: training: needed a table of settings, got 3"),
        ({"potential": {"distance": "yes"}}, r"config: potential\.distance: needed true or false, got 'yes'"),
        ({"stem": {"release": 2024}}, r"config: stem\.release: needed text, got 2024"),
        (
            {"losses": {"alpha": True}},
            r'config: losses\.alpha: needed "counts", "adaptive" or a number in \(0, 1\), got True',
        ),
        (
            {"losses": {"alpha": [0.4]}},
            r'config: losses\.alpha: needed "counts", "adaptive" or a number in \(0, 1\), got \[0\.4\]',
        ),
        (
            {"losses": {"alpha": None}},
            r'config: losses\.alpha: needed "counts", "adaptive" or a number in \(0, 1\), got None',
        ),
    ],
)
def test_unknown_keys_and_wrong_types(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(content)


def test_a_whole_number_may_stand_for_a_float() -> None:
    config = from_dict({"training": {"clip": 2}})
    assert config.training.clip == 2.0
    assert isinstance(config.training.clip, float)


@pytest.mark.parametrize(
    "setting",
    [
        "backbone.width=50",
        "backbone.width=0",
        "backbone.heads=0",
        "backbone.kan_inputs=0",
        "environment.width=33",
        "environment.heads=0",
        "environment.inducing=0",
        "environment.prototypes=0",
        "environment.prototype_decay=1.0",
        "environment.initial_impedance=0.0",
        "environment.initial_impedance=-1.0",
        "environment.fusion_weight=1.5",
        "environment.fusion_weight=-0.1",
        "impedance.channels=0",
        "episodes.train=0.0",
        "episodes.mixed=-0.1",
        "episodes.support_min=0",
        "episodes.support_min=5000",
        "episodes.query=1",
        "episodes.two_way=1.5",
        "episodes.label_shown=-0.1",
        "episodes.pseudo_ood_share=1.0",
        "episodes.validation_share=1.0",
        "episodes.validation_loci=1.0",
        "environment.student=mean",
        "crossfit.groups=-1",
        "crossfit.groups=65",
        "crossfit.seeds=0",
        "crossfit.seeds=65",
        "crossfit.loci=0.0",
        "crossfit.loci=1.0",
        "training.keep=first",
        "training.steps=0",
        "training.settle_steps=-1",
        "training.validate_every=0",
        "training.patience=0",
        "training.clip=0.0",
        "training.clip=inf",
        "training.learning_rate=-0.1",
        "training.environment_rate=0.0",
        "training.weight_decay=-0.1",
        "losses.distillation=nan",
        "losses.distillation=-3.0",
        "losses.pull_in_margin=-0.1",
        "losses.pacing_decay=1.0",
        "training.tasks_per_step=0",
        "training.precision=16",
        "stem.bin=4",
        "stem.kind=mofit",
        "stem.filters=-1",
        "stem.length=1",
        "stem.site_p=0.0",
        "stem.site_p=1.0",
        "losses.alpha=often",
        "losses.alpha=1.0",
        "losses.alpha=0.0",
        "losses.alpha=nan",
        "losses.alpha='0.4'",
    ],
)
def test_impossible_values_are_refused_by_name(setting: str) -> None:
    section, _, rest = setting.partition(".")
    key = section if rest.startswith("mixed") else rest.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"\b{key}\b"):
        override(Config(), [setting])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["impedance.channels=2", "environment.student=network", "training.settle_steps=0"],
            r"impedance\.channels: above 1 needs .*settle_steps",
        ),
        (["impedance.channels=2"], r'impedance\.channels: above 1: .* give environment\.student = "network"'),
        (
            ["crossfit.groups=3", "environment.student=network"],
            r'crossfit\.groups: above 0: .* give environment\.student = "closed_form"',
        ),
        (["crossfit.groups=1"], r"groups: one group would leave no line to train on; needed 0, or 2 or more"),
        (["stem.kind=mofit"], r"stem\.kind: needed one of motif, conv, kmer, got 'mofit'; did you mean 'motif'\?"),
        (["stem.kind=cnv"], r"did you mean 'conv'\?"),
        (["stem.kind=zzz"], r"needed one of motif, conv, kmer"),
        (["stem.kind=conv", "stem.filters=0"], r"stem\.filters: .* above 0 or stem\.known=true"),
        (["stem.kind=kmer", "stem.filters=0"], r"stem\.filters: .* at least 1 channel"),
        (["stem.kind=kmer", "stem.kmer=2"], r"stem\.kmer: needed at least 3, got 2"),
        (["stem.kind=kmer", "stem.kmer=9"], r"stem\.kmer: needed at most 8, got 9"),
        (["stem.kind=conv", "stem.length=65"], r"stem\.length: needed at most 64, got 65"),
        (
            ["stem.kind=conv", "stem.kmer=5"],
            r"stem\.kmer: is not read where stem\.kind is 'conv', only where it is kmer; leave it at 6",
        ),
        (["stem.kind=kmer", "stem.known=true"], r"stem\.known: is not read where stem\.kind is 'kmer'"),
        (["stem.kind=kmer", "stem.length=9"], r"stem\.length: is not read"),
        (["stem.filters=8"], r"stem\.filters: is not read .* only where it is conv or kmer; leave it at 64"),
        (["stem.known=true"], r"stem\.known: .* only where it is conv; leave it at false"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(Config(), settings)


def test_stems_that_can_be() -> None:
    known = override(Config(), ["stem.kind=conv", "stem.known=true", "stem.filters=0"]).stem
    assert known.reads_matrices and known.filters == 0
    assert not override(Config(), ["stem.kind=conv", "stem.length=20"]).stem.reads_matrices
    assert not override(Config(), ["stem.kind=kmer", "stem.filters=16", "stem.kmer=8"]).stem.reads_matrices
    assert Config().stem.reads_matrices


@pytest.mark.parametrize("setting", ["training.settle_steps=0", "training.warmup=0", "losses.pull_in=0.0"])
def test_what_may_be_left_out_may_be_zero(setting: str) -> None:
    assert override(Config(), [setting]) != Config()


@pytest.mark.parametrize(("text", "alpha"), [("counts", "counts"), ("adaptive", "adaptive"), ("0.4", 0.4)])
def test_alpha_is_a_word_or_a_number(text: str, alpha: str | float) -> None:
    config = override(Config(), [f"losses.alpha={text}"])
    assert config.losses.alpha == alpha
    assert type(config.losses.alpha) is type(alpha)
    assert from_dict(json.loads(json.dumps(config.model_dump()))) == config


def test_a_number_written_as_text_is_no_alpha() -> None:
    with pytest.raises(ConfigError, match=r"losses\.alpha: needed .* a number in \(0, 1\), got '0\.4'"):
        from_dict({"losses": {"alpha": "0.4"}})


def test_override_reads_numbers_and_words_and_leaves_the_original() -> None:
    before = Config()
    after = override(before, ["training.steps=5", "training.clip=0.5", "training.accelerator=cpu", "training.steps=6"])
    assert (after.training.steps, after.training.clip, after.training.accelerator) == (6, 0.5, "cpu")
    assert before == Config()
    assert override(before, []) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.steps", r"needed section\.key=value"),
        ("steps=5", r"needed section\.key=value"),
        ("training.stepps=5", "did you mean 'steps'"),
        ("trainin.steps=5", "did you mean 'training'"),
        ("training.steps=five", r"setting: training\.steps: needed a whole number, got 'five'"),
        ("training.steps=", "needed a whole number"),
    ],
)
def test_override_refuses(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(Config(), [setting])


def test_files(tmp_path: Path) -> None:
    toml, plain = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text("[training]\nsteps = 5\n[losses]\nalpha = 0.25\n")
    plain.write_text('{"training": {"steps": 5}, "losses": {"alpha": 0.25}}')
    config = load_config(toml)
    assert config == load_config(plain)
    assert (config.training.steps, config.losses.alpha) == (5, 0.25)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "[training\n", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.toml", "[training]\nstep = 5\n", "did you mean"),
        ("a.toml", None, "[Nn]o such file"),
        ("a.json", None, "[Nn]o such file"),
        ("a.json", "[]", r"needed a table of settings, got \[\]"),
        ("a.json", "3", "needed a table of settings, got 3"),
        ("a.json", "null", "needed a table of settings, got None"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(EpisodeError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="directory") as caught:
        load_config(tmp_path)
    assert str(tmp_path) in str(caught.value)


NUMBERS = [
    pytest.param(section, key, id=f"{section}.{key}")
    for section, default in ((name, field.default) for name, field in Config.model_fields.items())
    for key, field in type(default).model_fields.items()
    if field.annotation in (int, float) or key == "alpha"
]


def test_the_walk_over_the_numbers_finds_them() -> None:
    found = {f"{section}.{key}" for section, key in (parameter.values for parameter in NUMBERS)}
    assert len(found) > 60 and {"training.steps", "losses.alpha", "backbone.width", "episodes.query"} <= found


@pytest.mark.parametrize(("section", "key"), NUMBERS)
def test_every_number_has_a_domain(section: str, key: str) -> None:
    field = type(Config.model_fields[section].default).model_fields[key]
    bounds = {name for item in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    assert key == "alpha" or (bounds & {"ge", "gt"} and bounds & {"le", "lt"})
    values: list[object] = ["x", "", None, [], {}, math.nan, math.inf, -math.inf, -1, 10**18, 10**400, 1e300]
    if field.annotation is int:
        values += [0.5, 1e-300]
    for value in values:
        with pytest.raises(ConfigError, match=rf"{section}\.{key}: needed "):
            from_dict({section: {key: value}})


@pytest.mark.parametrize("side", ["enhancer", "promoter"])
@pytest.mark.parametrize("size", [-1, 1_000_001, 10**12, 0.5])
def test_a_window_has_a_domain(side: str, size: float) -> None:
    with pytest.raises(ConfigError, match=f"windows: {side}: needed "):
        parse_model({side: size}, WindowConfig, where="windows")


@pytest.mark.parametrize(
    "setting",
    [
        "training.steps=5\ny=3",
        "training.steps=5\r\ntraining.warmup=3",
        "training.steps=5\u2028y=3",
        "training.steps=5 # no more",
        "training.steps=5 #",
        "training.steps=5,",
        "training.steps=5, 6",
        "training.steps=5; 6",
        "training.steps=5 6",
        "training.steps=[5]",
        "training.steps={a=1}",
        "training.steps={}",
        "training.steps='5'",
        'training.steps="""5"""',
        "training.steps=\u00a05",
        "training.steps=5\u00a0",
        "training.steps=\uff15",
        "training.steps==5",
        "training.steps =5",
        "training .steps=5",
        "training.steps.x=5",
        "training.=5",
        ".steps=5",
        "=5",
        "training={steps=5}",
        "training.steps=" + "9" * 5000,
        "training.steps=" + "[" * 5000,
        "training.steps=" + "[" * 5000 + "]" * 5000,
        "stem.gate=CTCF\nx=1",
        "stem.gate='CTCF' # x",
        "",
    ],
)
def test_a_setting_is_one_value_and_nothing_is_dropped(setting: str) -> None:
    with pytest.raises(ConfigError):
        override(Config(), [setting])


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("training.steps= 5 ", "training", "steps", 5),
        ("training.steps=1_000", "training", "steps", 1000),
        ("training.clip=5e-1", "training", "clip", 0.5),
        ("stem.gate=CTCF", "stem", "gate", "CTCF"),
        ("stem.gate='CTCF'", "stem", "gate", "CTCF"),
        ("stem.gate=", "stem", "gate", ""),
        ("stem.gate='a # b'", "stem", "gate", "a # b"),
        ("stem.gate=a=b", "stem", "gate", "a=b"),
    ],
)
def test_settings_that_are_one_value(setting: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(override(Config(), [setting]), section), key) == value
