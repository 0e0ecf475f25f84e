"""A run folder: safetensors for numbers, JSON for words; it rebuilds the model with nothing else, and holds no pickle.

    RUN/
      run.json            format version, configuration, motif bank, environments, calibration, provenance
      model.safetensors   weights and buffers
      metrics.jsonl       one JSON object a line, from training
      alarms.json         what must be looked at
      resume.safetensors  state of an unfinished training; gone when it is finished

This module knows nothing about how a model is trained or used.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from episode import __version__
from episode.config import Config, WindowConfig, from_dict, to_dict
from episode.data.shortcuts import Shortcuts
from episode.encode.motifs import MotifBank
from episode.errors import CheckpointError, ConfigError, EpisodeError
from episode.files import atomic_file, read_json, write_json
from episode.model.energy import EnergySystem
from episode.model.stem import new_stem, start_thresholds

__all__ = [
    "FORMAT_VERSION",
    "Domain",
    "Run",
    "RunFacts",
    "load_run",
    "load_state",
    "new_system",
    "require_finished",
    "save_run",
    "save_state",
]

FORMAT_VERSION = 2
CALIBRATED = ("impedance_error", "impedance_environments", "bootstrap_sd", "training_impedance", "residual_slope")
"""What prediction and evaluation read of the calibration."""


@dataclass(frozen=True)
class Domain:
    """What training saw: environment means of z_I, for the warning that a new one lies outside.

    Parameters
    ----------
    centre, spread : ndarray, shape (size,)
        Mean over training environments, and standard deviation between them.
    limit : float
        Greatest root-mean-square standardised distance among training environments and their held-out loci; infinite
        with a single training environment, which says nothing of how environments differ.
    smallest : int
        Smallest support set that training drew.
    """

    centre: np.ndarray
    spread: np.ndarray
    limit: float
    smallest: int

    def distance(self, mean: np.ndarray) -> float:
        """Root-mean-square standardised distance of an environment mean, shape (size,), from the centre."""
        return float(np.sqrt(np.mean(((mean - self.centre) / self.spread) ** 2)))


@dataclass(frozen=True)
class RunFacts:
    """Everything about a run that is not a weight.

    Parameters
    ----------
    config : Config
    windows : WindowConfig
        Of the dataset that it was trained on.
    seed : int
    environments : tuple of str
        Known to the Teacher, in the order of its table.
    train_share : float
        Share of positives over the training pairs.
    alpha : float
        IMMAX alpha at the end of training.
    genome_sha256 : str or None
        Of the genome file, None where sequences were given.
    shortcuts : Shortcuts
    calibration : dict
        See `episode.train.calibration.Calibration`.
    roles : dict of str to list of str
        Environments by role.
    domain : Domain
    provenance : dict
        Versions, sources and times.
    """

    config: Config
    windows: WindowConfig
    seed: int
    environments: tuple[str, ...]
    train_share: float
    alpha: float
    genome_sha256: str | None
    shortcuts: Shortcuts
    calibration: dict[str, Any]
    roles: dict[str, list[str]]
    domain: Domain
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A loaded run, ready to predict: facts, motif bank, and the system in evaluation mode."""

    facts: RunFacts
    bank: MotifBank
    system: EnergySystem


def save_run(folder: Path, system: EnergySystem, bank: MotifBank, facts: RunFacts) -> None:
    """Write model.safetensors, then run.json; each by atomic rename."""
    with atomic_file(folder / "model.safetensors") as temporary:
        save_file(_plain(system.state_dict()), temporary)
    content = {
        "format_version": FORMAT_VERSION,
        "episode_version": __version__,
        "seed": facts.seed,
        "config": to_dict(facts.config),
        "windows": to_dict(facts.windows),
        "environments": list(facts.environments),
        "train_share": facts.train_share,
        "alpha": facts.alpha,
        "genome_sha256": facts.genome_sha256,
        "shortcuts": {"mean": facts.shortcuts.mean.tolist(), "deviation": facts.shortcuts.deviation.tolist()},
        "calibration": facts.calibration,
        "roles": facts.roles,
        "domain": {
            "centre": facts.domain.centre.tolist(),
            "spread": facts.domain.spread.tolist(),
            "limit": None if math.isinf(facts.domain.limit) else facts.domain.limit,
            "smallest": facts.domain.smallest,
        },
        "provenance": facts.provenance,
        "bank": json.loads(bank.to_json()),
    }
    write_json(folder / "run.json", content)


def new_system(config: Config, bank: MotifBank, environments: int, base_logit: float) -> EnergySystem:
    """Return the untrained system of a configuration and a bank; draws its weights from torch's generator."""
    thresholds, levels = start_thresholds(config.stem, bank), bank.gate_levels()
    gate = None if levels is None else torch.from_numpy(levels)
    return EnergySystem(config, thresholds, environments, base_logit, gate, new_stem(config.stem, bank))


def require_finished(folder: Path) -> None:
    """Refuse a folder that holds no finished run, before anything else is looked at.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if not (folder / "run.json").exists():
        unfinished = (folder / "resume.safetensors").exists()
        need = "its training has not finished; resume it first" if unfinished else "no run.json there"
        raise CheckpointError(f"{folder}: not a finished run ({need})")


def load_run(folder: Path) -> Run:
    """Rebuild a trained model from its folder.

    Raises
    ------
    CheckpointError
        If the folder is not a finished run, is damaged, or was written by another format version.
    """
    require_finished(folder)
    try:
        content = read_json(folder / "run.json")
    except EpisodeError as error:
        raise CheckpointError(str(error)) from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder / 'run.json'}: format version {version!r}, but this EPIsode reads {FORMAT_VERSION}"
        )
    try:
        facts = _facts(content)
        bank = MotifBank.from_json(json.dumps(content["bank"]))
        with torch.random.fork_rng(devices=[]):
            system = new_system(facts.config, bank, len(facts.environments), 0.0)
        system.load_state_dict(load_file(folder / "model.safetensors"))
    except (
        AttributeError,
        ConfigError,
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(f"{folder}: damaged run ({type(error).__name__}: {error})") from None
    system.eval()
    system.requires_grad_(False)
    return Run(facts, bank, system)


def _facts(content: dict[str, Any]) -> RunFacts:
    domain, shortcuts = content["domain"], content["shortcuts"]
    missing = [name for name in CALIBRATED if name not in content["calibration"]]
    if missing:
        raise KeyError(f"calibration.{missing[0]}")
    return RunFacts(
        config=from_dict(content["config"], where="run.json config"),
        windows=from_dict(content["windows"], WindowConfig, where="run.json windows"),
        seed=int(content["seed"]),
        environments=tuple(content["environments"]),
        train_share=float(content["train_share"]),
        alpha=float(content["alpha"]),
        genome_sha256=content["genome_sha256"],
        shortcuts=Shortcuts(np.array(shortcuts["mean"]), np.array(shortcuts["deviation"])),
        calibration=dict(content["calibration"]),
        roles=dict(content["roles"]),
        domain=Domain(
            np.array(domain["centre"]),
            np.array(domain["spread"]),
            math.inf if domain["limit"] is None else float(domain["limit"]),
            int(domain["smallest"]),
        ),
        provenance=dict(content["provenance"]),
    )


def save_state(path: Path, tensors: dict[str, Tensor], words: dict[str, Any]) -> None:
    """Write the state of an unfinished training as one file, by atomic rename."""
    with atomic_file(path) as temporary:
        save_file(_plain(tensors), temporary, metadata={"state": json.dumps(words)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            words = json.loads(stream.metadata()["state"])
        return load_file(path), words
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: damaged training state ({error}); remove it to start anew") from None


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
