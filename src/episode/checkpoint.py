"""A run folder: safetensors for numbers, JSON for words; it rebuilds the model with nothing else, and holds no pickle.

    RUN/
      run.json            format version, configuration, motif bank, environments, calibration, provenance, and the
                          checksums of the files
      model.safetensors   weights and buffers; in a cross-fitted run each member has its own
      student.safetensors the closed-form Student, and where training has been
      unseen.parquet      training pairs as members saw them that had not learned from them
      metrics.jsonl       one JSON object a line, from training
      alarms.json         warnings about the outcome
      members/            of a cross-fitted run: a run folder for each member, and their motif bank
      resume.safetensors  state of an unfinished training run; gone when it is finished

This module knows nothing about how a model is trained or used.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from pydantic import ConfigDict, RootModel
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save
from torch import Tensor

from episode import __version__
from episode.config import Config, WindowConfig
from episode.data.pairs import Source
from episode.data.places import Places
from episode.data.shortcuts import Shortcuts
from episode.documents import json_content, read_text
from episode.encode.motifs import BankContent, MotifBank
from episode.errors import CheckpointError
from episode.files import atomic_file
from episode.frames import read_frame
from episode.inference.closed_form import ClosedForm, View
from episode.inference.members import Member
from episode.inference.pairs import PairRows
from episode.integrity import Seal, check_seal, write_sealed
from episode.model.energy import EnergySystem
from episode.model.stem import new_stem, start_thresholds
from episode.schema import Model, Vector, parse_json, read_model, write_model

__all__ = [
    "FORMAT_VERSION",
    "GAUGE",
    "MEMBERS",
    "Alarm",
    "Alarms",
    "Calibration",
    "ClosedStudent",
    "DataIdentity",
    "Domain",
    "MemberFacts",
    "Provenance",
    "RoleNames",
    "Run",
    "RunCalibration",
    "RunFacts",
    "RunFile",
    "StudentFacts",
    "check_tensors",
    "load_run",
    "load_state",
    "load_unseen",
    "new_system",
    "require_finished",
    "save_members_bank",
    "save_run",
    "save_state",
]

M = TypeVar("M", bound=Model)

FORMAT_VERSION: Literal[4] = 4
"""Of the folder; 3 had neither a closed-form Student nor members, 2 no checksums of its files."""
KNOWN = (2, 3, FORMAT_VERSION)
UNSEALED = 2
STUDENT, UNSEEN, BANK, MEMBERS = "student.safetensors", "unseen.parquet", "bank.json", "members"
FILES = ("model.safetensors", "alarms.json", "metrics.jsonl", STUDENT, UNSEEN)
PLACES = ("chrom", "start", "end", "digests")
UNSEEN_COLUMNS = {"environment": "str", "view": "str", "logit": "float64", "label": "int8", "level": "float64"}
GAUGE = 3.0
"""Impedance of the mean training line in units of a closed-form Student, whose temperature is 1."""
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
    trained_temperature: float | None = None
    """T as training left it; absent in older runs."""
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
        "nothing_transfers",
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
    """How often a labelled pair to learn from was queried, on average, by each member; both stages together."""
    queried: int | None = None
    """Labelled pairs queried, each as often as it was, by all members; absent in older runs."""
    sources: list[Source]
    """Sources of the dataset, as its manifest has them."""
    unseen_validation: bool
    """Validation cell lines took no part in training."""
    identity: DataIdentity | None = None
    """Absent in the oldest runs."""


class MemberFacts(Model):
    """One member of a run."""

    name: str
    """Its folder in members/; empty where the run itself is the only member."""
    left_out: tuple[str, ...]
    """Cell lines that it has not learned from."""
    level: float
    """Constant impedance that fits the pairs it learned from, units of its U_I."""
    temperature: float
    """T as trained; the standardised potential is (U_I - level) / temperature."""


class StudentFacts(Model):
    """The closed-form Student of a run, besides its arrays, and the members whose potential it reads."""

    members: tuple[MemberFacts, ...]
    chromosomes: tuple[str, ...]
    """Names of those where training has been, in the order of their numbers in student.safetensors."""


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
    student: StudentFacts | None = None
    """Null where R_S comes from the network."""


class _Header(Model):
    format_version: Literal[2, 3, 4]
    episode_version: str


class RunFile(RunFacts, Seal, _Header):
    """The file run.json."""

    bank: BankContent | None
    """Null in a member of a cross-fitted run, whose bank lies beside it in bank.json."""


@dataclass(frozen=True)
class ClosedStudent:
    """The closed-form Student of a run.

    Parameters
    ----------
    fitted : ClosedForm
        What it reads and forecasts, in the units of `Run.potential`.
    places : Places
        Where training has been: which view of the training pairs a prediction resembles.
    members : tuple of Member
        Whose potential is averaged.
    """

    fitted: ClosedForm
    places: Places
    members: tuple[Member, ...]

    def view(self, elements: pd.DataFrame, digests: Sequence[bytes], rows: PairRows) -> View:
        """Tell which training pairs some pairs resemble: those at shared loci, if most of them touch training's loci.

        Parameters
        ----------
        elements, digests
            See `episode.data.places.Places.of`; `rows` refers to them.
        """
        used, place = np.unique(np.stack([rows.enhancer, rows.promoter]), return_inverse=True)
        inside = self.places.overlap(elements.iloc[used], [digests[number] for number in used])
        touches = inside[place.reshape(2, -1)].any(axis=0)
        asked: View = "shared" if touches.mean() > 1 / 2 else "new"
        return asked if asked in self.fitted.scales else next(iter(self.fitted.scales))


@dataclass(frozen=True)
class Run:
    """A loaded run, ready to predict.

    Parameters
    ----------
    system : EnergySystem
        In evaluation mode; that of the first member of a cross-fitted run.
    alarms : tuple of Alarm
        What needs attention, as alarms.json has it; none where a run has no such file.
    student : ClosedStudent or None
        None where R_S comes from the network.
    """

    facts: RunFacts
    bank: MotifBank
    system: EnergySystem
    alarms: tuple[Alarm, ...] = ()
    student: ClosedStudent | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """Those whose potential is averaged; the system alone, in the units of U_I, without a closed-form Student."""
        if self.student is not None:
            return self.student.members
        return (Member(self.system, -float(self.system.temperature.offset), 1.0, self.facts.environments),)

    @property
    def temperature(self) -> float:
        """T of the formula: 1 under a closed-form Student, whose potential and impedance are in log-odds."""
        return float(self.system.temperature()) if self.student is None else 1.0

    def potential(self, standardised: np.ndarray, view: View | None) -> np.ndarray:
        """Turn mean standardised potentials of members, any shape, into U_I as predictions give it.

        Parameters
        ----------
        view : View or None
            None without a closed-form Student.
        """
        if self.student is None or view is None:
            return standardised
        return self.student.fitted.scale(view).logit(standardised) + GAUGE


def save_run(folder: Path, run: Run, unseen: pd.DataFrame | None = None) -> None:
    """Write the files of a run, then run.json, which seals them; each by atomic rename.

    The members of a cross-fitted run must have been written.

    Parameters
    ----------
    unseen : DataFrame, optional
        Of a closed-form Student: training pairs as members saw them that had not learned from them.
    """
    alone = run.facts.student is None or not run.facts.student.members[0].name
    if alone:
        with atomic_file(folder / "model.safetensors") as temporary:
            temporary.write_bytes(save(_plain(run.system.state_dict())))
    if run.student is not None:
        with atomic_file(folder / STUDENT) as temporary:
            temporary.write_bytes(save_arrays(_arrays(run.student)))
    if unseen is not None:
        with atomic_file(folder / UNSEEN) as temporary:
            unseen.to_parquet(temporary, index=False)
    shared = folder.parent.name == MEMBERS and (folder.parent / BANK).exists()
    header = {
        "format_version": FORMAT_VERSION,
        "episode_version": __version__,
        "bank": None if shared else run.bank.content(),
    }
    write_sealed(folder / "run.json", RunFile(**dict(run.facts) | header), _sealed(run.facts))


def save_members_bank(folder: Path, bank: MotifBank) -> None:
    """Write the bank that the members of a cross-fitted run in `folder` share, before the first of them.

    Raises
    ------
    CheckpointError
        If another one is there: the members that have been trained read it.
    """
    path = folder / MEMBERS / BANK
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_model(path, bank.content())
    elif read_model(path, BankContent, error=CheckpointError) != bank.content():
        raise CheckpointError(
            f"{path}: the members here have other motifs; give the settings that they were begun with"
        )


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


def load_run(folder: Path, *, members_bank: MotifBank | None = None) -> Run:
    """Rebuild a trained model from its folder.

    Parameters
    ----------
    members_bank : MotifBank, optional
        Of a member of a cross-fitted run, where the bank that lies beside it is read already.

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
        if version < FORMAT_VERSION:
            text = json.dumps(_with_network(content))
        stored = parse_json(text, RunFile, where=str(path), error=CheckpointError)
        check_seal(path, content, _sealed(stored), old=version <= UNSEALED, remedy=REMEDY, error=CheckpointError)
        bank = members_bank
        if bank is None or stored.bank is not None:
            shared = stored.bank or read_model(folder.parent / BANK, BankContent, error=CheckpointError)
            bank = MotifBank.from_content(shared)
        path = folder / "alarms.json"
        alarms = read_model(path, Alarms, error=CheckpointError).root if path.exists() else []
        if stored.student is None:
            return Run(stored, bank, _load_system(folder, stored, bank), tuple(alarms))
        members = tuple(_load_member(folder, stored, member, bank) for member in stored.student.members)
        student = _load_student(folder / STUDENT, stored.student, members)
        return Run(stored, bank, members[0].system, tuple(alarms), student)
    except (CheckpointError, KeyError, OSError, OverflowError, RuntimeError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: damaged run ({error})") from None


def load_unseen(folder: Path) -> pd.DataFrame:
    """Read the training pairs of a run as members saw them that had not learned from them.

    Returns
    -------
    DataFrame
        One row a labelled pair: `environment` and `view` (str), `logit` (calibrated in the view, at one level for all
        environments), `label` (1 or 0), and `level`, what the closed-form Student, fitted without the environment,
        adds to the logit.

    Raises
    ------
    CheckpointError
        If the run has no closed-form Student, or the file is damaged.
    """
    return read_frame(folder / UNSEEN, UNSEEN_COLUMNS, error=CheckpointError)


def _with_network(content: Any) -> Any:
    """Of a run from before the closed-form Student: say that R_S comes from the network."""
    with contextlib.suppress(KeyError, TypeError):
        content = copy.deepcopy(content)
        content["config"]["environment"]["student"] = "network"
    return content


def _sealed(facts: RunFacts) -> list[str]:
    """Files of a run folder that its seal covers, besides run.json."""
    names = [] if facts.student is None else [member.name for member in facts.student.members if member.name]
    members = [f"{MEMBERS}/{BANK}", *(f"{MEMBERS}/{name}/run.json" for name in names)] if names else []
    return [*FILES, *members]


def _load_system(folder: Path, facts: RunFacts, bank: MotifBank) -> EnergySystem:
    """Rebuild the system of a run in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        system = new_system(facts.config, bank, len(facts.environments), 0.0)
    weights = load_file(folder / "model.safetensors")
    check_tensors(weights, system.state_dict(), where=str(folder / "model.safetensors"))
    system.load_state_dict(weights)
    system.eval()
    system.requires_grad_(False)
    return system


def _load_member(folder: Path, facts: RunFacts, member: MemberFacts, bank: MotifBank) -> Member:
    """Load one member of a run: one of members/, or the run itself."""
    if member.name:
        run = load_run(folder / MEMBERS / member.name, members_bank=bank)
        return Member(run.system, member.level, member.temperature, run.facts.environments)
    return Member(_load_system(folder, facts, bank), member.level, member.temperature, facts.environments)


def _load_student(path: Path, facts: StudentFacts, members: tuple[Member, ...]) -> ClosedStudent:
    arrays = {name: value.numpy() for name, value in load_file(path).items()}
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite")
    missing = [name for name in PLACES if f"places.{name}" not in arrays]
    if missing:
        raise CheckpointError(f"{path}: places.{missing[0]} is missing")
    places = Places(facts.chromosomes, *(arrays.pop(f"places.{name}") for name in PLACES))
    return ClosedStudent(ClosedForm.from_arrays(arrays), places, members)


def _arrays(student: ClosedStudent) -> dict[str, np.ndarray]:
    """What student.safetensors holds of a closed-form Student."""
    arrays = student.fitted.arrays() | {f"places.{name}": getattr(student.places, name) for name in PLACES}
    return {name: np.ascontiguousarray(value).reshape(np.shape(value)) for name, value in arrays.items()}


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
