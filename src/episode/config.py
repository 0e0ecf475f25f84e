"""The configuration: frozen, typed, saved beside the weights, enough to rebuild the model.

An unknown key is an error with a "did you mean". This module does not know what the values are used for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from episode.errors import ConfigError

ACCELERATORS = ("auto", "cpu", "cuda")
PRECISIONS = ("32-true", "bf16-mixed")
SCORES = ("float16", "float32")
STEM_KEYS = {"motif": (), "conv": ("known", "filters", "length"), "kmer": ("filters", "kmer")}
"""Kinds of the stem, and the keys that not every kind reads."""
POSITIVE = {
    "stem.site_p",
    *(
        f"backbone.{key}"
        for key in (
            "width",
            "heads",
            "anchors",
            "summary",
            "bilinear",
            "factor_scale",
            "kan_inputs",
            "kan_frequencies",
            "gate_inputs",
        )
    ),
    *(f"environment.{key}" for key in ("width", "heads", "inducing", "prototypes", "initial_impedance")),
    "impedance.channels",
    *(f"episodes.{key}" for key in ("train", "support_min")),
    *(f"training.{key}" for key in ("steps", "tasks_per_step", "clip", "validate_every", "patience")),
    *(f"training.{key}" for key in ("learning_rate", "environment_rate", "teacher_rate_factor")),
}
SHARES = {"environment.fusion_weight", "episodes.two_way", "episodes.label_shown"}
PARTIAL = {
    "stem.site_p",
    "environment.prototype_decay",
    "losses.pacing_decay",
    *(f"episodes.{key}" for key in ("pseudo_ood_share", "validation_share", "validation_loci")),
}

__all__ = [
    "BackboneConfig",
    "Config",
    "EnvironmentConfig",
    "EpisodesConfig",
    "ImpedanceConfig",
    "LossConfig",
    "PotentialConfig",
    "StemConfig",
    "TrainConfig",
    "WindowConfig",
    "from_dict",
    "load_config",
    "override",
    "to_dict",
]


@dataclass(frozen=True)
class WindowConfig:
    """Which bases of an element are read. 0 means the whole element."""

    enhancer: int = 1024
    """Base pairs around the midpoint of the enhancer."""
    promoter: int = 4096
    """Base pairs around the midpoint of the promoter."""


@dataclass(frozen=True)
class StemConfig:
    """First layer: strand-aware filters, known or learned."""

    kind: str = "motif"
    """"motif" (JASPAR position weight matrices, frozen, scanned once), "conv" (filters that learn) or "kmer" (a learned
    embedding of k-mers); the last two read the bases anew in every step and want much data and a GPU."""
    release: str = "JASPAR2024"
    """JASPAR release, as named by pyJASPAR."""
    min_information: float = 8.0
    """Least information content of a matrix, in bits."""
    max_similarity: float = 0.7
    """Matrices more alike than this (column correlation at the best alignment) are thinned to one."""
    bin: int = 128
    """Base pairs of one token."""
    gate: str = ""
    """Factor whose matrices are all kept, in every version, for the boundary gate ("CTCF"); empty for no gate."""
    gate_bin: int = 128
    """Base pairs of one bin of the gate."""
    site_p: float = 1e-5
    """Chance of a random site's reaching the score at which a site of a known motif starts as half occupied."""
    precision: str = "float16"
    """Of the scores of known matrices as they are stored: "float16" or "float32"."""
    known: bool = False
    """conv: the JASPAR matrices are the first filters, and learn on."""
    filters: int = 64
    """conv: filters that start at random, 0 with `known` for none. kmer: channels of the embedding."""
    length: int = 12
    """conv: base pairs of a filter that starts at random."""
    kmer: int = 6
    """kmer: k."""

    @property
    def reads_matrices(self) -> bool:
        """Known matrices are the filters, or where they start."""
        return self.kind == "motif" or self.known


@dataclass(frozen=True)
class BackboneConfig:
    """Element encoder, cross-boundary attention and Fourier-KAN energy head."""

    width: int = 32
    """Channels of a token."""
    heads: int = 4
    """Attention heads; must divide `width`, with an even number of channels a head."""
    anchors: int = 2
    """Learned anchors that pool the tokens of each element."""
    summary: int = 16
    """Channels that the attended tokens contribute to z_I."""
    bilinear: int = 48
    """Products of one enhancer channel with one promoter channel."""
    factor_scale: float = 1.0
    """How many times larger than usual the weights of these channels start; more learns products sooner."""
    kan_inputs: int = 8
    """Directions of z_I that the energy head reads, each through a univariate function of its own."""
    kan_frequencies: int = 3
    """Fourier terms of each univariate function in the energy head."""
    gate_inputs: int = 4
    """Directions that the energy head of the boundary gate reads."""
    gate_frequencies: int = 2
    """Fourier terms of each of its univariate functions."""


@dataclass(frozen=True)
class PotentialConfig:
    """What U_I may read besides the two sequences."""

    distance: bool = False
    """Add a learned contact decay, which never rises with distance, where the distance of a pair is known."""


@dataclass(frozen=True)
class EnvironmentConfig:
    """Set encoder, Student, Teacher and Opportunist."""

    width: int = 32
    """Size of the environment embedding h_c."""
    heads: int = 2
    """Attention heads of the set encoder."""
    inducing: int = 8
    """Inducing points of each set-attention block."""
    prototypes: int = 1
    """Prototypes of each training environment in the Teacher's graph."""
    prototype_decay: float = 0.95
    """Decay of the moving average that makes a prototype."""
    fusion_weight: float = 0.5
    """w in R_E = w R_T + (1 - w) R_S for a known environment."""
    initial_impedance: float = 3.0
    """R_E / T before training; the level that the U_I mean hinge holds."""


@dataclass(frozen=True)
class ImpedanceConfig:
    """The impedance spectrum."""

    channels: int = 1
    """K: impedances of an environment. A pair is exposed to each by its sequences; with one, R_E is a scalar."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; the task loss has weight 1."""

    alpha: str | float = "counts"
    """IMMAX alpha: "counts" (cube roots of the class counts), "adaptive", or a number in (0, 1)."""
    potential_mean: float = 0.1
    """Hinge on the mean of U_I."""
    potential_variance: float = 0.01
    """Hinge on the spread of U_I."""
    motif_sparsity: float = 0.002
    """Group lasso on the motif weights of the Backbone."""
    distillation: float = 0.3
    """(R_S - sg(R_ref))^2."""
    pull_in: float = 1.0
    """Greatest weight of the pull-in term."""
    pull_in_margin: float = 0.02
    """Nats by which the Student may miss its baseline before it is pulled in."""
    push_away: float = 0.1
    """Weight of the reversed Opportunist loss."""
    push_away_margin: float = 0.02
    """Nats of Opportunist lead that count as a shortcut."""
    sparsity: float = 0.003
    """L1 on |R_E - sg(mean R_E)|."""
    orthogonality: float = 0.01
    """Squared cosine between sg(mean z_I) and h_c."""
    pacing_low: float = 0.95
    """Below this ratio L_S / L_O the Student leads."""
    pacing_high: float = 1.02
    """Above this ratio L_S / L_O the Opportunist leads."""
    pacing_decay: float = 0.9
    """Decay of the moving averages of the pacing lock."""


@dataclass(frozen=True)
class EpisodesConfig:
    """What a task is, and how the four kinds are mixed."""

    train: float = 0.4
    pseudo_ood: float = 0.3
    prior_shift: float = 0.1
    mixed: float = 0.2
    support_min: int = 32
    support_max: int = 2048
    query: int = 256
    two_way: float = 0.5
    """Share of the tasks whose halves swap roles."""
    label_shown: float = 0.25
    """Share of the training-environment tasks whose support shows some labels."""
    pseudo_ood_share: float = 0.25
    """Share of the training cell lines that the Teacher never sees (at least one)."""
    validation_share: float = 0.25
    """Share of the training cell lines kept for validation where there are eight or more."""
    validation_loci: float = 0.2
    """Share of the loci kept for validation where the dataset has no "val" split."""


@dataclass(frozen=True)
class TrainConfig:
    """The training loop."""

    steps: int = 1000
    """Steps in which everything learns."""
    settle_steps: int = 1000
    """Steps after those in which the Backbone is frozen and the environment parts settle on its final U_I."""
    tasks_per_step: int = 4
    learning_rate: float = 0.01
    environment_rate: float = 0.01
    teacher_rate_factor: float = 0.5
    """Teacher's learning rate as a fraction of the Student's."""
    weight_decay: float = 0.1
    clip: float = 1.0
    """Greatest gradient norm of each part."""
    warmup: int = 50
    validate_every: int = 100
    patience: int = 8
    """Validations without improvement before training stops."""
    precision: str = "32-true"
    """Lightning Fabric precision: "32-true" or "bf16-mixed"."""
    accelerator: str = "auto"
    """Lightning Fabric accelerator: "auto", "cpu" or "cuda"."""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, besides the data and the seed."""

    stem: StemConfig = field(default_factory=StemConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    potential: PotentialConfig = field(default_factory=PotentialConfig)
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    impedance: ImpedanceConfig = field(default_factory=ImpedanceConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    training: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        _check(self)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested plain dictionaries."""
    return dataclasses.asdict(config)


def from_dict(content: dict[str, Any], kind: type[Any] = Config, *, where: str = "config") -> Any:
    """Build a configuration from nested dictionaries; missing keys take their defaults.

    Raises
    ------
    ConfigError
        At an unknown key (with the nearest known one) or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(hints)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {advice}")
        values[key] = _convert(value, hints[key], f"{where}.{key}")
    return kind(**values)


def load_config(path: Path) -> Config:
    """Read a TOML or JSON configuration file."""
    from episode.files import read_json

    if path.suffix == ".json":
        content = read_json(path)
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: needed an object of settings, got {type(content).__name__}")
        return from_dict(content, where=str(path))
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from None
    return from_dict(content, where=str(path))


def override(config: Config, settings: list[str]) -> Config:
    """Apply ``section.key=value`` settings, as given on the command line.

    Raises
    ------
    ConfigError
        At an unknown key, a wrong type, or a setting without ``=``.
    """
    content = to_dict(config)
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise ConfigError(f"setting {setting!r}: needed section.key=value, such as training.steps=500")
        try:
            value = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            value = text
        content.setdefault(section, {})
        if not isinstance(content[section], dict):
            raise ConfigError(f"setting {setting!r}: {section!r} is not a section")
        content[section][key] = value
    return from_dict(content, where="setting")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _convert(value: Any, hint: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: needed a table of settings, got {value!r}")
        return from_dict(value, typing.cast(type, hint), where=where)
    kinds = typing.get_args(hint) or (hint,)
    if isinstance(hint, types.UnionType):
        if isinstance(value, hint):
            return value
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    raise ConfigError(f"{where}: needed {' or '.join(_WORDS.get(kind, str(kind)) for kind in kinds)}, got {value!r}")


def _check(config: Config) -> None:
    """Refuse values that no run could have."""
    backbone, environment, episodes, alpha = config.backbone, config.environment, config.episodes, config.losses.alpha
    for section, content in to_dict(config).items():
        for key, value in content.items():
            name = f"{section}.{key}"
            if isinstance(value, str):
                continue
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}: needed a finite number >= 0, got {value}")
            if name in POSITIVE and value == 0:
                raise ConfigError(f"{name}: needed more than 0, got {value}")
            if name in SHARES and value > 1:
                raise ConfigError(f"{name}: needed a share in [0, 1], got {value}")
            if name in PARTIAL and value >= 1:
                raise ConfigError(f"{name}: needed a share below 1, got {value}")
    checks = [
        (backbone.width % (2 * backbone.heads) == 0, f"backbone.width: needed a multiple of 2 x heads in {backbone}"),
        (environment.width % environment.heads == 0, f"environment.width: needed a multiple of heads in {environment}"),
        (episodes.support_min <= episodes.support_max, f"episodes.support_min: is above support_max in {episodes}"),
        (
            config.impedance.channels == 1 or config.training.settle_steps > 0,
            "impedance.channels: above 1 needs training.settle_steps above 0, where the exposure is learned",
        ),
        (episodes.query >= 2, f"episodes.query: needed at least 2, got {episodes.query}"),
        (
            config.losses.pacing_low <= config.losses.pacing_high,
            f"losses.pacing_low: is above pacing_high in {config.losses}",
        ),
        (
            config.training.accelerator in ACCELERATORS,
            f"training.accelerator: needed one of {', '.join(ACCELERATORS)}, got {config.training.accelerator!r}",
        ),
        *_stem_checks(config.stem),
        (config.stem.bin >= 8, f"stem.bin: needed at least 8 bp, got {config.stem.bin}"),
        (config.stem.gate_bin >= 8, f"stem.gate_bin: needed at least 8 bp, got {config.stem.gate_bin}"),
        (
            config.training.precision in PRECISIONS,
            f"training.precision: needed one of {', '.join(PRECISIONS)}, got {config.training.precision!r}",
        ),
        (
            alpha in ("counts", "adaptive") or (isinstance(alpha, float) and 0 < alpha < 1),
            f'losses.alpha: needed "counts", "adaptive" or a number in (0, 1), got {alpha!r}',
        ),
    ]
    for holds, need in checks:
        if not holds:
            raise ConfigError(need)


def _stem_checks(stem: StemConfig) -> list[tuple[bool, str]]:
    """What must hold of the stem, and what to say if it does not; a key that the kind does not read stays as it was."""
    kinds = ", ".join(STEM_KEYS)
    if stem.kind not in STEM_KEYS:
        near = difflib.get_close_matches(stem.kind, STEM_KEYS, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"needed one of {kinds}"
        return [(False, f"stem.kind: unknown kind {stem.kind!r}; {advice}")]
    read = STEM_KEYS[stem.kind]
    idle = [key for keys in STEM_KEYS.values() for key in keys if key not in read]
    checks = [
        (
            getattr(stem, key) == getattr(StemConfig, key),
            f"stem.{key}: is not read where stem.kind is {stem.kind!r}, only where it is "
            f"{' or '.join(kind for kind, keys in STEM_KEYS.items() if key in keys)}; "
            f"leave it at {str(getattr(StemConfig, key)).lower()}",
        )
        for key in dict.fromkeys(idle)
    ]
    starts = "a conv stem needed stem.filters above 0 or stem.known=true, to start from the JASPAR matrices"
    return [
        *checks,
        (stem.precision in SCORES, f"stem.precision: needed {' or '.join(SCORES)}, got {stem.precision!r}"),
        (stem.kind != "conv" or stem.known or stem.filters > 0, f"stem.filters: {starts}"),
        (stem.kind != "kmer" or stem.filters > 0, "stem.filters: a kmer stem needed at least 1 channel, got 0"),
        (2 <= stem.length <= 64, f"stem.length: needed 2 to 64 bp, got {stem.length}"),
        (3 <= stem.kmer <= 8, f"stem.kmer: needed 3 to 8 bp, got {stem.kmer}"),
    ]
