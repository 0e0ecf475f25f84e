"""The configuration: frozen, typed, saved beside the weights, enough to rebuild the model.

An unknown key is an error with a "did you mean". This module does not know what the values are used for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from episode.errors import ConfigError
from episode.limits import (
    BIN_BASES,
    CHANNELS,
    ELEMENT_BASES,
    FREQUENCIES,
    GROUPS,
    RATE,
    SEEDS,
    SPECTRUM,
    STEPS,
    TASK_PAIRS,
    TASKS,
    WEIGHTS,
)
from episode.schema import Model, did_you_mean, parse_model, read_model, refusal
from episode.text import text_problem

__all__ = [
    "BackboneConfig",
    "Config",
    "CrossfitConfig",
    "EnvironmentConfig",
    "EpisodesConfig",
    "ImpedanceConfig",
    "LossConfig",
    "PotentialConfig",
    "StemConfig",
    "TrainConfig",
    "WindowConfig",
    "load_config",
    "load_preset",
    "override",
    "shipped_presets",
]

Fraction = Annotated[float, Field(ge=0, le=1)]
Below1 = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(ge=1e-9, le=WEIGHTS)]
Weight = Annotated[float, Field(ge=0, le=WEIGHTS)]
Rate = Annotated[float, Field(ge=1e-12, le=RATE)]
Window = Annotated[int, Field(ge=0, le=ELEMENT_BASES)]
BinSize = Annotated[int, Field(ge=8, le=BIN_BASES)]
Channels = Annotated[int, Field(ge=1, le=CHANNELS)]
Frequencies = Annotated[int, Field(ge=1, le=FREQUENCIES)]
Steps = Annotated[int, Field(ge=1, le=STEPS)]
StepsOrNone = Annotated[int, Field(ge=0, le=STEPS)]
TaskPairs = Annotated[int, Field(ge=1, le=TASK_PAIRS)]

STEM_KEYS = {"motif": (), "conv": ("known", "filters", "length"), "kmer": ("filters", "kmer")}
"""Kinds of the stem, and the keys that not every kind reads."""


class WindowConfig(Model):
    """Which bases of an element are read. 0 means the whole element."""

    enhancer: Window = 1024
    """Base pairs around the midpoint of the enhancer."""
    promoter: Window = 4096
    """Base pairs around the midpoint of the promoter."""


class StemConfig(Model):
    """First layer: strand-aware filters, known or learned."""

    kind: Literal["motif", "conv", "kmer"] = "motif"
    """"motif" (JASPAR position weight matrices, frozen, scanned once), "conv" (filters that learn) or "kmer" (a learned
    embedding of k-mers); the last two read the bases again in every step and want much data and a GPU."""
    release: str = "JASPAR2024"
    """JASPAR release, as named by pyJASPAR."""
    min_information: Weight = 8.0
    """Min information content of a matrix, in bits."""
    max_similarity: Weight = 0.7
    """Matrices more alike than this (column correlation at the best alignment) are thinned to one."""
    bin: BinSize = 128
    """Base pairs of one token."""
    gate: str = ""
    """Factor whose matrices are all kept, in every version, for the boundary gate ("CTCF"); empty for no gate."""
    gate_bin: BinSize = 128
    """Base pairs of one bin of the gate."""
    site_p: Annotated[float, Field(ge=1e-12, lt=1)] = 1e-5
    """Probability that a random site reaches the score at which a site of a known motif starts half occupied."""
    precision: Literal["float16", "float32"] = "float16"
    """Of the scores of known matrices as they are stored: "float16" or "float32"."""
    known: bool = False
    """conv: the JASPAR matrices are the first filters, and are fine-tuned."""
    filters: Annotated[int, Field(ge=0, le=CHANNELS)] = 64
    """conv: filters that start at random, 0 with `known` for none. kmer: channels of the embedding."""
    length: Annotated[int, Field(ge=2, le=64)] = 12
    """conv: base pairs of a filter that starts at random."""
    kmer: Annotated[int, Field(ge=3, le=8)] = 6
    """kmer: k."""

    @property
    def reads_matrices(self) -> bool:
        """Known matrices are the filters, or where they start."""
        return self.kind == "motif" or self.known

    def as_motif(self) -> StemConfig:
        """Return the motif stem of the same matrices, bins and precision."""
        return StemConfig(**self.model_dump(exclude={"kind", "known", "filters", "length", "kmer"}))

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        read = STEM_KEYS[self.kind]
        for key in dict.fromkeys(key for keys in STEM_KEYS.values() for key in keys if key not in read):
            default = type(self).model_fields[key].default
            if getattr(self, key) != default:
                kinds = " or ".join(kind for kind, keys in STEM_KEYS.items() if key in keys)
                raise refusal(
                    key,
                    f"is not read where stem.kind is {self.kind!r}, only where it is {kinds}; "
                    f"leave it at {str(default).lower()}",
                )
        if self.kind == "conv" and not self.known and not self.filters:
            starts = "needed stem.filters above 0 or stem.known=true, to start from the JASPAR matrices"
            raise refusal("filters", f"a conv stem {starts}")
        if self.kind == "kmer" and not self.filters:
            raise refusal("filters", "a kmer stem needed at least 1 channel, got 0")
        return self


class BackboneConfig(Model):
    """Element encoder, cross-boundary attention and Fourier-KAN energy head."""

    width: Channels = 32
    """Channels of a token."""
    heads: Channels = 4
    """Attention heads; must divide `width`, with an even number of channels a head."""
    anchors: Channels = 2
    """Learned anchors that pool the tokens of each element."""
    summary: Channels = 16
    """Channels that the attended tokens contribute to z_I."""
    bilinear: Channels = 48
    """Products of one enhancer channel with one promoter channel."""
    factor_scale: Positive = 1.0
    """How many times larger than usual the weights of these channels start; more learns products sooner."""
    kan_inputs: Channels = 8
    """Directions of z_I that the energy head reads, each through a univariate function of its own."""
    kan_frequencies: Frequencies = 3
    """Fourier terms of each univariate function in the energy head."""
    gate_inputs: Channels = 4
    """Directions that the energy head of the boundary gate reads."""
    gate_frequencies: Frequencies = 2
    """Fourier terms of each of its univariate functions."""

    @model_validator(mode="after")
    def _divides_into_heads(self) -> Self:
        if self.width % (2 * self.heads):
            raise refusal("width", f"needed a multiple of 2 x heads, got {self.width} with {self.heads} heads")
        return self


class PotentialConfig(Model):
    """What U_I may read besides the two sequences."""

    distance: bool = False
    """Add a learned contact decay, which never rises with distance, where the distance of a pair is known."""


class EnvironmentConfig(Model):
    """Set encoder, Student, Teacher and Opportunist."""

    student: Literal["closed_form", "network"] = "closed_form"
    """What R_S of a prediction comes from: "closed_form" (fitted after training on pairs that the potential has not
    learned from) or "network" (the set encoder and the Student head, as training leaves them)."""
    width: Channels = 32
    """Size of the environment embedding h_c."""
    heads: Channels = 2
    """Attention heads of the set encoder."""
    inducing: Channels = 8
    """Inducing points of each set-attention block."""
    prototypes: Channels = 1
    """Prototypes of each training environment in the Teacher's graph."""
    prototype_decay: Below1 = 0.95
    """Decay of the moving average that makes a prototype."""
    fusion_weight: Fraction = 0.5
    """w in R_E = w R_T + (1 - w) R_S for a known environment."""
    initial_impedance: Positive = 3.0
    """R_E / T before training; the level that the U_I mean hinge holds."""

    @model_validator(mode="after")
    def _divides_into_heads(self) -> Self:
        if self.width % self.heads:
            raise refusal("width", f"needed a multiple of heads, got {self.width} with {self.heads} heads")
        return self


class ImpedanceConfig(Model):
    """The impedance spectrum."""

    channels: Annotated[int, Field(ge=1, le=SPECTRUM)] = 1
    """K: impedances of an environment. A pair is exposed to each by its sequences; with one, R_E is a scalar."""


class LossConfig(Model):
    """Weights of the losses; the task loss has weight 1."""

    alpha: Literal["counts", "adaptive"] | Annotated[float, Field(ge=1e-6, le=1 - 1e-6)] = "counts"
    """IMMAX alpha: "counts" (cube roots of the class counts), "adaptive", or a number in (0, 1)."""
    potential_mean: Weight = 0.1
    """Hinge on the mean of U_I."""
    potential_variance: Weight = 0.01
    """Hinge on the variance of U_I."""
    motif_sparsity: Weight = 0.002
    """Group lasso on the motif weights of the Backbone."""
    distillation: Weight = 0.3
    """(R_S - sg(R_ref))^2."""
    pull_in: Weight = 1.0
    """Max weight of the pull-in term."""
    pull_in_margin: Weight = 0.02
    """Nats by which the Student may miss its baseline before it is pulled in."""
    push_away: Weight = 0.1
    """Weight of the reversed Opportunist loss."""
    push_away_margin: Weight = 0.02
    """Nats of Opportunist lead that count as a shortcut."""
    sparsity: Weight = 0.003
    """L1 on |R_E - sg(mean R_E)|."""
    orthogonality: Weight = 0.01
    """Squared cosine between sg(mean z_I) and h_c."""
    pacing_low: Weight = 0.95
    """Below this ratio L_S / L_O the Student leads."""
    pacing_high: Weight = 1.02
    """Above this ratio L_S / L_O the Opportunist leads."""
    pacing_decay: Below1 = 0.9
    """Decay of the moving averages of the pacing lock."""

    @field_validator("alpha", mode="wrap")
    @classmethod
    def _is_a_word_or_a_number(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(f'needed "counts", "adaptive" or a number in (0, 1), got {value!r}') from None

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.pacing_low > self.pacing_high:
            raise refusal("pacing_low", f"{self.pacing_low} is above pacing_high {self.pacing_high}")
        return self


class EpisodesConfig(Model):
    """What a task is, and how the four kinds are mixed."""

    train: Positive = 0.4
    pseudo_ood: Weight = 0.3
    prior_shift: Weight = 0.1
    mixed: Weight = 0.2
    support_min: TaskPairs = 32
    support_max: TaskPairs = 2048
    query: Annotated[int, Field(ge=2, le=TASK_PAIRS)] = 256
    two_way: Fraction = 0.5
    """Fraction of the tasks whose halves swap roles."""
    label_shown: Fraction = 0.25
    """Fraction of the training-environment tasks whose support shows some labels."""
    pseudo_ood_share: Below1 = 0.25
    """Fraction of the training cell lines that the Teacher never sees (at least one)."""
    validation_share: Below1 = 0.25
    """Fraction of the training cell lines kept for validation where there are eight or more; two at least, or 0."""
    validation_loci: Below1 = 0.2
    """Fraction of the loci kept for validation where the dataset has no "val" split."""

    @model_validator(mode="after")
    def _min_is_below_max(self) -> Self:
        if self.support_min > self.support_max:
            raise refusal("support_min", f"{self.support_min} is above support_max {self.support_max}")
        return self


class TrainConfig(Model):
    """The training loop."""

    steps: Steps = 1000
    """Steps in which everything learns."""
    settle_steps: StepsOrNone = 1000
    """Steps after those in which the Backbone is frozen and the environment parts settle on its final U_I."""
    tasks_per_step: Annotated[int, Field(ge=1, le=TASKS)] = 4
    learning_rate: Rate = 0.01
    environment_rate: Rate = 0.01
    teacher_rate_factor: Rate = 0.5
    """Teacher's learning rate as a fraction of the Student's."""
    weight_decay: Weight = 0.1
    clip: Positive = 1.0
    """Max gradient norm of each part."""
    warmup: StepsOrNone = 50
    validate_every: Steps = 100
    patience: Steps = 8
    """Validations without improvement before training stops."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Lightning Fabric precision: "32-true" or "bf16-mixed"."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Lightning Fabric accelerator: "auto", "cpu" or "cuda"."""
    epochs: Annotated[float, Field(ge=0, le=STEPS)] = 0.0
    """Most times that a labelled pair is queried while everything learns, on average: where fewer steps reach it, these
    are taken. 0 for no such bound."""
    keep: Literal["best", "last"] = "best"
    """Weights of each stage that are kept: of the step of the best validation, or of the last step; then validations
    stop no stage early."""


class CrossfitConfig(Model):
    """Cross-fitting: several members, each of which leaves a group of training cell lines out."""

    groups: Annotated[int, Field(ge=0, le=GROUPS)] = 0
    """Groups of training cell lines, at most one for each line; 0 for a single member that leaves none out."""
    seeds: Annotated[int, Field(ge=1, le=SEEDS)] = 2
    """Members that leave out the same group, with seeds of their own."""
    loci: Annotated[float, Field(ge=0.01, lt=1)] = 0.2
    """Fraction of the loci that a member does not learn from, another part for each group."""

    @model_validator(mode="after")
    def _leaves_lines_to_train_on(self) -> Self:
        if self.groups == 1:
            raise refusal("groups", "one group would leave no line to train on; needed 0, or 2 or more")
        return self


class Config(Model):
    """Everything that decides a run, besides the data and the seed."""

    stem: StemConfig = StemConfig()
    backbone: BackboneConfig = BackboneConfig()
    potential: PotentialConfig = PotentialConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    impedance: ImpedanceConfig = ImpedanceConfig()
    losses: LossConfig = LossConfig()
    episodes: EpisodesConfig = EpisodesConfig()
    training: TrainConfig = TrainConfig()
    crossfit: CrossfitConfig = CrossfitConfig()

    @model_validator(mode="after")
    def _has_one_student(self) -> Self:
        closed = self.environment.student == "closed_form"
        if self.impedance.channels > 1 and closed:
            need = 'one level for all pairs; give environment.student = "network"'
            raise refusal("impedance.channels", f"above 1: the closed-form Student reads {need}")
        if self.crossfit.groups and not closed:
            need = 'have no set encoder in common; give environment.student = "closed_form"'
            raise refusal("crossfit.groups", f"above 0: members {need}")
        return self

    @model_validator(mode="after")
    def _learns_exposure(self) -> Self:
        if self.impedance.channels > 1 and not self.training.settle_steps:
            raise refusal(
                "impedance.channels", "above 1 needs training.settle_steps above 0, where the exposure is learned"
            )
        return self


def load_config(path: Path) -> Config:
    """Read a TOML or JSON configuration file; missing keys take their defaults.

    Raises
    ------
    ConfigError
        At an unknown key (with the nearest known one), an impossible value, or a file that cannot be read.
    """
    return read_model(path, Config)


def shipped_presets() -> dict[str, Path]:
    """Name and file of the presets that come with the package."""
    folder = Path(str(resources.files("episode.presets")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_preset(name: str | None, settings: Mapping[str, object] | None = None, *, where: str = "settings") -> Config:
    """Read a preset by its name, with some settings changed; without a name these are changes of the defaults.

    Parameters
    ----------
    settings : mapping, optional
        Sections with their keys.
    where : str
        Where the settings come from, for messages.

    Raises
    ------
    ConfigError
        If there is no such preset, or the settings do not fit.
    """
    shipped = shipped_presets()
    if name is not None and name not in shipped:
        raise ConfigError(f"{where}: no preset {name!r}{did_you_mean(name, shipped)}; there are {', '.join(shipped)}")
    content = tomllib.loads(shipped[name].read_text(encoding="utf-8")) if name is not None else {}
    for section, values in (settings or {}).items():
        known = content.get(section)
        content[section] = known | dict(values) if isinstance(known, dict) and isinstance(values, Mapping) else values
    return parse_model(content, Config, where=where)


def override(config: Config, settings: list[str]) -> Config:
    """Apply ``section.key=value`` settings, as given on the command line.

    Raises
    ------
    ConfigError
        At an unknown key, a wrong type, or a setting without ``=``.
    """
    content = config.model_dump()
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise ConfigError(f"setting {setting!r}: needed section.key=value, such as training.steps=500")
        problem = text_problem(setting, length=None)
        if problem:
            raise ConfigError(f"setting {setting[:100]!r}: {problem}")
        value = _value(setting, text)
        content.setdefault(section, {})
        if not isinstance(content[section], dict):
            raise ConfigError(f"setting {setting!r}: {section!r} is not a section")
        content[section][key] = value
    return parse_model(content, Config, where="setting")


def _value(setting: str, text: str) -> Any:
    """Read the value of a setting: TOML that is one value and nothing else, or else a word."""
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text
    try:
        whole = len(tomllib.loads(f"x = [{text}]")["x"]) == 1
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise ConfigError(f"setting {setting!r}: needed one value and nothing behind it, read {value!r}")
    return value
