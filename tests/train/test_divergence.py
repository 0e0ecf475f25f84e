"""A training run whose numbers are no longer finite ends with one message, and keeps its last finite state."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from episode.errors import EpisodeError
from episode.inference.scoring import LiveScorer
from episode.train.divergence import Diverged, require_finite
from episode.train.loop import train
from episode.train.step import step_losses
from episode.train.validation import check_environments
from small_systems import make_context, make_pool, small_config
from tiny_world import config, dataset, dataset_folder


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_enough(value: float) -> None:
    require_finite(torch.zeros(3), 1.0, torch.full((2,), 3e38))
    with pytest.raises(Diverged, match=r"^training diverged: .* lower training\.learning_rate"):
        require_finite(torch.tensor([0.0, value, 0.0]))
    with pytest.raises(Diverged):
        require_finite(0.0, value)


@pytest.mark.parametrize("part", ["backbone", "set_encoder", "student"])
def test_a_step_with_a_broken_part_is_one_that_diverged(part: str) -> None:
    context, tasks = make_context(small_config())
    with torch.no_grad():
        list(getattr(context.system, part).parameters())[-1].fill_(math.nan)
    with pytest.raises(Diverged):
        step_losses(context, tasks)


@pytest.mark.parametrize("part", ["backbone", "set_encoder", "student"])
def test_so_is_a_validation_with_one(part: str) -> None:
    context, _ = make_context(small_config())
    with torch.no_grad():
        list(getattr(context.system, part).parameters())[-1].fill_(math.nan)
    assert isinstance(context.score, LiveScorer)
    pool = make_pool("a", np.arange(20), context.rows, None)
    with pytest.raises(Diverged):
        check_environments(context.system, context.score, (pool,), support_max=10, alpha=0.5)


@pytest.mark.parametrize("key", ["learning_rate", "environment_rate"])
def test_a_training_run_that_diverges_keeps_its_last_finite_state(key: str, tmp_path: Path) -> None:
    settings = config(f"training.{key}=1000.0", "training.warmup=0", "training.steps=40", "training.validate_every=1")
    with pytest.raises(EpisodeError) as caught:
        train(dataset(), settings, seed=0, folder=tmp_path / "run", cache=dataset_folder() / "store")
    state = tmp_path / "run" / "resume.safetensors"
    text = str(caught.value)
    assert text.startswith("training diverged: ") and text.count("diverged") == 1 and text.endswith(f"stays in {state}")
    assert all(bool(torch.isfinite(value).all()) for value in load_file(state).values())
    assert str(pickle.loads(pickle.dumps(caught.value))) == text
