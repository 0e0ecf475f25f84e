"""How large and how hard a simulated world is.

This module does NOT know presets, nor how the world is drawn or written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from episode.errors import ConfigError
from episode.limits import ELEMENT_BASES, WEIGHTS, WORLD_BASES, WORLD_COUNT, WORLD_PAIRS

__all__ = ["SCALES", "SETS", "WORLDS", "SetConfig", "WorldConfig"]

WORLDS = {"label": 1.0, "concept": 0.0, "both": 0.5}
"""Fraction of the impedance that is label shift, by world."""

SETS = ("train", "val", "test")
"""Chromosome sets; the pairs of a set carry its name as their split."""

SCALES = (0.01, 1.0)
"""Smallest and largest factor of `WorldConfig.scaled`."""

DOMAINS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("chromosomes", "loci"), (1, WORLD_COUNT)),
    "pairs": (0, WORLD_PAIRS),
    "total": (1, WORLD_PAIRS),
    **dict.fromkeys(("enhancers_per_locus", "promoters_per_locus"), (1, WORLD_COUNT)),
    **dict.fromkeys(("training_lines", "unseen_lines"), (0, WORLD_COUNT)),
    **dict.fromkeys(("grammar_motifs", "main_effects", "rules", "oriented_rules", "burden_motifs"), (0, WORLD_COUNT)),
    **dict.fromkeys(("enhancer_length", "promoter_length", "motif_length"), (1, ELEMENT_BASES)),
    **dict.fromkeys(("spacer", "locus_gap"), (0, ELEMENT_BASES)),
    "temperature": (1e-3, WEIGHTS),
    "selection": (-WEIGHTS, WEIGHTS),
    **dict.fromkeys(("impedance_mean", "potential_sd", "min_information"), (0, WEIGHTS)),
    **dict.fromkeys(("grammar_presence", "burden_presence", "trace_share", "weakest_site"), (0, 1)),
    **dict.fromkeys(("active_enhancers", "active_promoters"), (0, 1)),
    **dict.fromkeys(("share_positive", "training_prevalence", "unseen_prevalence"), (1e-6, 1 - 1e-6)),
    "val_share": (0.01, 0.9),
    "shared_loci": (0, 1),
}
"""Smallest and largest value of each number, by its name; of both of a pair of minimum and maximum."""


def _check_numbers(config: SetConfig | WorldConfig) -> None:
    """Refuse a number that is none, is not whole where a count is needed, or lies outside its domain."""
    for item in fields(config):
        given: Any = getattr(config, item.name)
        if item.name not in DOMAINS:
            continue
        low, high = DOMAINS[item.name]
        if given is None and item.default is None:
            continue
        pair = item.type == "tuple[int, int]"
        values: tuple[Any, ...] = given if pair and isinstance(given, tuple) and len(given) == 2 else (given,)
        kind = float if str(item.type).startswith("float") else int
        for value in values:
            number = isinstance(value, (int, kind)) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and low <= value <= high) or pair != (len(values) == 2):
                what = f"a {'whole number' if kind is int else 'number'} from {low:,g} to {high:,g}"
                raise ConfigError(f"{item.name} {given!r}: needed {'two of ' if pair else ''}{what}")
        if pair and not values[0] <= values[-1]:
            raise ConfigError(f"{item.name} {given} is not a pair of minimum and maximum")


@dataclass(frozen=True)
class SetConfig:
    """One set of chromosomes, shared with no other set but for `WorldConfig.shared_loci`."""

    chromosomes: int
    """Number of chromosomes."""
    loci: int
    """Number of loci, assigned evenly to the chromosomes."""
    pairs: tuple[int, int]
    """Smallest and largest number of pairs of a cell line on these chromosomes (log-uniform)."""
    total: int | None = None
    """Number of pairs of all cell lines together, in equal parts up to one pair, each within `pairs`; if None each
    cell line draws its own number."""

    def __post_init__(self) -> None:
        _check_numbers(self)

    def part(self, place: int, lines: int) -> int | None:
        """Return the part of `total` of cell line `place` (from 0) of `lines`, None if there is no total."""
        return None if self.total is None else self.total // lines + (place < self.total % lines)

    def scaled(self, factor: float, lines: int) -> SetConfig:
        """Return a set with `factor` of the loci and of the pairs of each of `lines` cell lines, one at least."""
        loci, low, high = (max(1, round(size * factor)) for size in (self.loci, *self.pairs))
        total = None if self.total is None else max(lines, round(self.total * factor))
        if total is not None:
            low, high = total // lines, -(-total // lines)
        return replace(self, chromosomes=min(self.chromosomes, loci), loci=loci, pairs=(low, high), total=total)


@dataclass(frozen=True)
class WorldConfig:
    """Size and difficulty of a simulated world. Lengths in base pairs, potentials in units of U_I."""

    train: SetConfig
    """Where the training cell lines get the pairs of split "train"."""
    val: SetConfig | None
    """Held-out loci of the training cell lines: split "val". None if `val_share` is given in its place."""
    test: SetConfig
    """Where the unseen cell lines get their pairs: split "test"."""
    training_lines: int
    """Training cell lines."""
    unseen_lines: int
    """Unseen cell lines."""
    enhancer_length: int
    """Length of every enhancer."""
    promoter_length: int
    """Length of every promoter."""
    enhancers_per_locus: tuple[int, int]
    """Smallest and largest number of enhancers of a locus (uniform)."""
    promoters_per_locus: tuple[int, int]
    """Smallest and largest number of promoters of a locus (uniform)."""
    spacer: tuple[int, int] = (20, 120)
    """Smallest and largest number of base pairs of background between two elements of a locus."""
    locus_gap: int = 600
    """Background between two loci."""
    temperature: float = 1.0
    """T."""
    impedance_mean: float = 3.0
    """Mean R_E in units of T: high enough that R_E stays positive."""
    potential_sd: float = 1.7
    """SD of U_I / T over all pairs of the universe."""
    share_positive: float = 0.25
    """Prevalence over all pairs of the universe at the mean impedance."""
    grammar_motifs: int = 5
    """Motifs that count in enhancers, and as many others that count in promoters."""
    main_effects: int = 3
    """How many of them have an effect by themselves, on each side."""
    rules: int = 6
    """Products of an enhancer motif and a promoter motif."""
    oriented_rules: int = 1
    """How many of the rules ask for convergent sites."""
    grammar_presence: float = 0.45
    """Probability that an element carries a given motif of the grammar."""
    burden_motifs: int = 8
    """Motifs of the trace, and as many others of the nuisance; half of each count negatively."""
    burden_presence: float = 0.4
    """Probability that an element carries a given motif of the trace or of the nuisance."""
    selection: float = 1.25
    """Log-odds of an element's being active per unit of factor times burden; one for trace and nuisance."""
    trace_share: float = 0.75
    """R² of the impedance deviation on the trace factor."""
    active_enhancers: float = 0.35
    """Fraction of the enhancers that are candidates in a cell line (more only where they would not suffice)."""
    active_promoters: float = 0.5
    """The same for promoters."""
    min_information: float = 14.0
    """Minimum information content of an inserted motif, in bits."""
    motif_length: tuple[int, int] = (8, 18)
    """Minimum and maximum number of columns of an inserted motif."""
    weakest_site: float = 0.3
    """Inserted sites that score below this quantile of the motif's own sites are drawn again."""
    chance_sites: bool = True
    """Background may hold sites as good as inserted ones; if not, presence is a function of the DNA."""
    val_share: float | None = None
    """Fraction of each training cell line's pairs, of either class, drawn at random from `train` as split "val"."""
    training_prevalence: float | None = None
    """Prevalence to which the pairs of every training cell line are selected by label; None: as the labels fall."""
    unseen_prevalence: float | None = None
    """The same for every unseen cell line."""
    shared_loci: float = 0.0
    """Fraction of the loci of `test` that are loci of `train` too; the others lie on chromosomes of their own."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        self._check_layout()
        longest = (self.grammar_motifs + 2 * self.burden_motifs) * self.motif_length[1]
        if longest > min(self.enhancer_length, self.promoter_length):
            raise ConfigError(
                f"elements of {min(self.enhancer_length, self.promoter_length)} bp cannot hold all motifs at "
                f"once ({longest} bp): make the elements longer or insert fewer motifs"
            )
        if self.main_effects > self.grammar_motifs or self.oriented_rules > self.rules:
            raise ConfigError("more main effects than motifs, or more oriented rules than rules")
        if self.rules > self.grammar_motifs**2:
            raise ConfigError(f"{self.rules} rules need more than {self.grammar_motifs} motifs on each side")
        if self.training_lines < 1 or self.unseen_lines < 1:
            raise ConfigError("a world needs at least one training and one unseen cell line")
        self._check_prevalences()
        self._check_size()

    @property
    def loci_in_common(self) -> int:
        """Number of loci of `test` that are loci of `train` too."""
        return round(self.shared_loci * self.test.loci)

    def prevalence(self, part: str) -> float | None:
        """Return the prevalence to which the pairs of a chromosome set are selected, None if they are not."""
        return self.unseen_prevalence if part == "test" else self.training_prevalence

    def scaled(self, factor: float) -> WorldConfig:
        """Return a world with `factor` of the loci and pairs, and as many cell lines.

        Raises
        ------
        ConfigError
            If `factor` lies outside `SCALES`.
        """
        if not SCALES[0] <= factor <= SCALES[1]:
            raise ConfigError(f"scale {factor!r}: needed a number from {SCALES[0]:g} to {SCALES[1]:g}")
        return replace(
            self,
            train=self.train.scaled(factor, self.training_lines),
            val=None if self.val is None else self.val.scaled(factor, self.training_lines),
            test=self.test.scaled(factor, self.unseen_lines),
        )

    def _check_layout(self) -> None:
        """Refuse parts that do not fit together."""
        if (self.val is None) == (self.val_share is None):
            raise ConfigError(f"val {self.val} and val_share {self.val_share}: needed one of the two")
        if self.training_prevalence is not None and self.val_share is None:
            raise ConfigError(
                f"training_prevalence {self.training_prevalence}: needed val_share in place of val, as pairs selected "
                "on two sets of loci would have two impedances"
            )
        if self.loci_in_common > self.train.loci:
            raise ConfigError(
                f"shared_loci {self.shared_loci}: {self.loci_in_common:,} of {self.test.loci:,} test loci; "
                f"needed at most the {self.train.loci:,} of train"
            )

    def _check_prevalences(self) -> None:
        """Refuse totals that the cell lines cannot have, and prevalences that leave a class empty."""
        for part, lines in ((self.train, self.training_lines), (self.test, self.unseen_lines)):
            if part.total is not None and not part.pairs[0] <= part.total / lines <= part.pairs[1]:
                raise ConfigError(f"total {part.total:,}: needed {lines} cell lines of {part.pairs} pairs")
        if self.val is not None and self.val.total is not None:
            raise ConfigError(f"total {self.val.total:,}: needed in train or test, not in val")
        for name, part in (("training_prevalence", self.train), ("unseen_prevalence", self.test)):
            prevalence: float | None = getattr(self, name)
            n = part.pairs[0]
            if prevalence is not None and not 0 < round(n * prevalence) < n:
                raise ConfigError(
                    f"{name} {prevalence}: {n} pairs of a cell line would have {round(n * prevalence)} positives; "
                    "needed both classes"
                )

    def _check_size(self) -> None:
        """Refuse a world that is too large, before anything of it is drawn."""
        val = (0, 0) if self.val is None else (self.val.loci, self.val.pairs[1])
        loci = self.train.loci + val[0] + self.test.loci
        enhancers, promoters = self.enhancers_per_locus[1], self.promoters_per_locus[1]
        spacers = (enhancers + promoters) * self.spacer[1]
        bases = enhancers * self.enhancer_length + promoters * self.promoter_length + spacers + self.locus_gap
        training = self.training_lines * (self.train.pairs[1] + val[1])
        for what, size, most in (
            ("bases", loci * bases, WORLD_BASES),
            ("pairs of an enhancer and a promoter of one locus", loci * enhancers * promoters, WORLD_PAIRS),
            ("pairs of cell lines", training + self.unseen_lines * self.test.pairs[1], WORLD_PAIRS),
        ):
            if size > most:
                raise ConfigError(f"this world may have {size:,} {what}; needed at most {most:,}")
