"""A run folder: safetensors for numbers, JSON for words; it rebuilds the model with nothing else, and holds no pickle.

    RUN/
      run.json            format version, configuration, motif bank, environments, calibration, provenance, and the
                          checksums of the files
      model.safetensors   weights and buffers
      metrics.jsonl       one JSON object a line, from training
      alarms.json         warnings about the outcome
      resume.safetensors  state of an unfinished training run; gone when it is finished

This module knows nothing about how a model is trained or used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import ConfigDict, RootModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from episode import __version__
from episode.config import Config, WindowConfig
from episode.data.pairs import Source
from episode.data.shortcuts import Shortcuts
from episode.documents import json_content, read_text
from episode.encode.motifs import BankContent, MotifBank
from episode.errors import CheckpointError
from episode.files import atomic_file
from episode.integrity import Seal, check_seal, write_sealed
from episode.model.energy import EnergySystem
from episode.model.stem import new_stem, start_thresholds
from episode.schema import Model, Vector, parse_json, read_model

__all__ = [
    "FORMAT_VERSION",
    "Alarm",
    "Alarms",
    "Calibration",
    "DataIdentity",
    "Domain",
    "Provenance",
    "RoleNames",
    "Run",
    "RunCalibration",
    "RunFacts",
    "RunFile",
    "check_tensors",
    "load_run",
    "load_state",
    "new_system",
    "require_finished",
    "save_run",
    "save_state",
]

M = TypeVar("M", bound=Model)

FORMAT_VERSION: Literal[3] = 3
"""Of the folder; 2 had no checksums of its files."""
KNOWN = (2, FORMAT_VERSION)
FILES = ("model.safetensors", "alarms.json", "metrics.jsonl")
REMEDY = "take it from a copy, or train again"


class Domain(Model):
    """What training saw: environment means of z_I, for the warning that a new one lies outside."""

    centre: Vector
    """Mean over training environments, shape (size,)."""
    spread: Vector
    """Standard deviation between training environments, shape (size,)."""
    limit: float | None
    """Max root-mean-square standardised distance among training environments and their held-out loci; null with a
    single training environment, which says nothing of how environments differ."""
    smallest: int
    """Pairs of the smallest support set that training drew."""

    def distance(self, mean: np.ndarray) -> float:
        """Root-mean-square standardised distance of an environment mean, shape (size,), from the centre."""
        return float(np.sqrt(np.mean(((mean - self.centre) / self.spread) ** 2)))


class Calibration(Model):
    """T and the offset of U_I, and how far the impedance of an environment can be trusted."""

    model_config = ConfigDict(allow_inf_nan=True)  # of a run that diverges; none such is written

    temperature: float
    """T."""
    offset: float
    """What is added to U_I."""
    log_loss: float | None
    """Pooled log-loss of the validation pairs after calibration, in nats; null where their labels lack a class."""
    residual_slope: float | None
    """Slope of the labels on the final logit over the pooled validation pairs; 1 is calibrated."""
    impedance_error: float
    """Standard deviation of R_S minus oracle R over environments, units of U_I: over all of them or over the held-out
    ones alone, whichever is larger."""
    impedance_environments: int
    """Number of environments with an oracle."""
    bootstrap_sd: float
    """Root mean square over them of the bootstrap standard deviation of R_S; that error includes it."""
    pairs: int
    """Labelled validation pairs used."""


class RunCalibration(Calibration):
    """The calibration of a finished run."""

    training_impedance: float
    """Mean R_T over the training environments."""


class Alarm(Model):
    """One thing that needs attention after a training run."""

    name: Literal[
        "collapse",
        "mean_impedance_student",
        "weak_potential",
        "idle_competition",
        "idle_spectrum",
        "shortcut_dependence",
    ]
    text: str
    """A sentence for a reader who has not read the code."""


class Alarms(RootModel[list[Alarm]]):
    """The file alarms.json."""


class RoleNames(Model):
    """Environments by their role in training."""

    training: list[str]
    pseudo_ood: list[str]
    validation: list[str]


class DataIdentity(Model):
    """What a training run was made from, besides its configuration and seed."""

    store: str
    """Hash of the encoded elements."""
    sources: list[str]
    """SHA-256 of each source of the dataset."""
    pairs: str
    """SHA-256 of the columns that training reads."""
    windows: WindowConfig
    genome: str | None
    """SHA-256 of the genome file."""


class Provenance(Model):
    """Versions, sources and lengths of a training run."""

    episode: str
    torch: str
    numpy: str
    best_step: int
    """Step whose weights were kept."""
    steps: int
    """Steps taken."""
    epochs: float
    """How often a labelled pair to learn from was queried, on average; both stages together."""
    sources: list[Source]
    """Sources of the dataset, as its manifest has them."""
    unseen_validation: bool
    """Validation cell lines took no part in training."""
    identity: DataIdentity | None = None
    """Absent in the oldest runs."""


class RunFacts(Model):
    """Everything about a run that is neither a weight nor a motif."""

    seed: int
    config: Config
    windows: WindowConfig
    """Of the dataset that it was trained on."""
    environments: tuple[str, ...]
    """Known to the Teacher, in the order of its table."""
    train_share: float
    """Prevalence over the training pairs."""
    alpha: float
    """IMMAX alpha at the end of training."""
    genome_sha256: str | None
    """Of the genome file, null where sequences were given."""
    shortcuts: Shortcuts
    calibration: RunCalibration
    roles: RoleNames
    domain: Domain
    provenance: Provenance


class _Header(Model):
    format_version: Literal[2, 3]
    episode_version: str


class RunFile(RunFacts, Seal, _Header):
    """The file run.json."""

    bank: BankContent


@dataclass(frozen=True)
class Run:
    """A loaded run, ready to predict: facts, motif bank, the system in evaluation mode, and what needs attention."""

    facts: RunFacts
    bank: MotifBank
    system: EnergySystem
    alarms: tuple[Alarm, ...] = ()
    """As alarms.json has them; none where a run has no such file."""


def save_run(folder: Path, system: EnergySystem, bank: MotifBank, facts: RunFacts) -> None:
    """Write model.safetensors, then run.json, which seals the files of the folder; each by atomic rename."""
    with atomic_file(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(_plain(system.state_dict())))
    header = {"format_version": FORMAT_VERSION, "episode_version": __version__, "bank": bank.content()}
    write_sealed(folder / "run.json", RunFile(**dict(facts) | header), FILES)


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
        If the folder is not a finished run, is damaged, was changed, or was written by another format version.
    """
    require_finished(folder)
    path = folder / "run.json"
    text = read_text(path, error=CheckpointError)
    content = json_content(text, where=str(path), error=CheckpointError)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version not in KNOWN:
        known = " and ".join(map(str, KNOWN))
        raise CheckpointError(f"{path}: format version {version!r}, but this EPIsode reads {known}")
    try:
        stored = parse_json(text, RunFile, where=str(path), error=CheckpointError)
        old = version < FORMAT_VERSION
        check_seal(path, content, FILES, old=old, remedy=REMEDY, error=CheckpointError)
        bank = MotifBank.from_content(stored.bank)
        with torch.random.fork_rng(devices=[]):
            system = new_system(stored.config, bank, len(stored.environments), 0.0)
        weights = load_file(folder / "model.safetensors")
        check_tensors(weights, system.state_dict(), where=str(folder / "model.safetensors"))
        system.load_state_dict(weights)
        path = folder / "alarms.json"
        alarms = read_model(path, Alarms, error=CheckpointError).root if path.exists() else []
    except (CheckpointError, OSError, OverflowError, RuntimeError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: damaged run ({error})") from None
    system.eval()
    system.requires_grad_(False)
    return Run(stored, bank, system, tuple(alarms))


def check_tensors(found: Mapping[str, Tensor], needed: Mapping[str, Tensor], *, where: str) -> None:
    """Compare tensors that were read with those of a model: names, shapes, types; numbers must be finite.

    Raises
    ------
    CheckpointError
        The message begins with `where`.
    """
    for name in sorted(needed.keys() ^ found.keys()):
        raise CheckpointError(
            f"{where}: {name} {'is missing' if name in needed else 'belongs to no part of the model'}"
        )
    for name, tensor in found.items():
        want = needed[name]
        if (tensor.dtype, tensor.shape) != (want.dtype, want.shape):
            kinds = [f"{str(each.dtype).removeprefix('torch.')} {tuple(each.shape)}" for each in (tensor, want)]
            raise CheckpointError(f"{where}: {name} is {kinds[0]}; needed {kinds[1]}")
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{where}: {name} holds numbers that are not finite")


def save_state(path: Path, tensors: dict[str, Tensor], state: Model) -> None:
    """Write the state of an unfinished training run as one file, by atomic rename."""
    text = json.dumps(state.model_dump())  # unlike JSON by pydantic, it keeps infinite numbers
    plain = _plain(tensors)
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(plain, metadata={"state": text, "sha256": _state_sha256(plain, text)}))


def load_state(path: Path, kind: type[M]) -> tuple[dict[str, Tensor], M]:
    """Read what `save_state` wrote of a state of type `kind`.

    Raises
    ------
    CheckpointError
        If the file is damaged or was changed.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata()
        tensors, text = load_file(path), metadata["state"]
        if metadata.get("sha256", _state_sha256(tensors, text)) != _state_sha256(tensors, text):
            raise CheckpointError("it was changed after it was written")
        return tensors, parse_json(text, kind, where="state", error=CheckpointError, infinite=True)
    except (CheckpointError, OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged training state ({error}); remove it to start again") from None


def _state_sha256(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of tensors, in the order of their names, and of what is said of them."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
