"""What settings need of memory is known before it is taken: never more than it is, and refused where it is too much."""

from __future__ import annotations

import functools

import pytest

from episode.checkpoint import new_system
from episode.config import Config, override
from episode.encode.motifs import MotifBank, load_bank
from episode.episodes.roles import Roles, assign_roles
from episode.errors import ConfigError
from episode.train import memory
from episode.train.data import gather_data
from episode.train.memory import COPIES, FLOAT, check_memory, needed_bytes
from tiny_world import dataset

bank = functools.cache(lambda: load_bank(Config().stem))


def asked(*settings: str) -> tuple[Config, MotifBank, Roles]:
    config = override(Config(), ["training.accelerator=cpu", *settings])
    return config, bank(), assign_roles(dataset().pairs, config.episodes, 0)


def needed(*settings: str) -> dict[str, int]:
    config, motifs, roles = asked(*settings)
    return needed_bytes(config, motifs, dataset(), roles)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("backbone.width=512", "backbone.heads=2"),
        ("backbone.anchors=64", "backbone.summary=256"),
        ("backbone.bilinear=500", "backbone.kan_inputs=100"),
        ("environment.width=512", "environment.inducing=100"),
        ("impedance.channels=64", "environment.student=network"),
    ],
)
def test_weights_are_counted_from_below_and_nearly(settings: tuple[str, ...]) -> None:
    config, motifs, roles = asked(*settings)
    system = new_system(config, motifs, len(roles.training), 0.0)
    true = COPIES * FLOAT * sum(parameter.numel() for parameter in system.parameters())
    assert 0.85 * true < next(iter(needed(*settings).values())) <= true


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (("backbone.width=4096", "backbone.heads=1", "backbone.anchors=4096", "backbone.summary=4096"), "the weights"),
        (("environment.prototypes=4096", "environment.width=4096"), "the weights"),
        (("stem.bin=8", "training.tasks_per_step=1024", "backbone.heads=16"), "the attention of a step"),
    ],
)
def test_too_much_is_refused_before_anything_is_made(
    settings: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, motifs, roles = asked(*settings)
    monkeypatch.setattr(memory, "STEP_BYTES", 1 << 30)
    with pytest.raises(ConfigError, match=rf"need at least [\d,]+ GiB of memory, of which {part}.*; there are 1 GiB"):
        check_memory(config, motifs, dataset(), roles)
    monkeypatch.setattr("episode.train.data.load_bank", lambda _: motifs)
    with pytest.raises(ConfigError, match="GiB of memory"):
        gather_data(dataset(), config, 0)


def test_usual_settings_pass() -> None:
    check_memory(*asked()[:2], dataset(), asked()[2])
    assert sum(needed().values()) < 1 << 28


def test_each_part_grows_with_its_setting() -> None:
    for settings, word in (
        (("training.tasks_per_step=8",), "the encoded elements"),
        (("training.tasks_per_step=8",), "the attention"),
        (("backbone.bilinear=200",), "the outputs"),
        (("environment.prototypes=9",), "the Teacher"),
        (("environment.inducing=80",), "the set encoder"),
    ):
        before, after = needed(), needed(*settings)
        [key] = [key for key in before if key.startswith(word)]
        assert after[key] > before[key], key
