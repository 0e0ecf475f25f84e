"""What the methods and the metrics of a comparison are called, in words, and how they are grouped.

Names only: this module holds no numbers but those asked of it, and knows neither tables nor figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from episode.compare.methods.registry import GROUPS as REGISTERED
from episode.compare.methods.registry import row_group, row_order
from episode.compare.results import ComparisonResults

__all__ = [
    "EPISODE",
    "GROUPS",
    "IMPEDANCE",
    "METRICS",
    "SEQUENCE",
    "SHORTCUT",
    "TITLES",
    "WITH_DISTANCE",
    "Metric",
    "best",
    "group_of",
    "meaning",
    "methods_of",
    "ordered",
]

EPISODE, IMPEDANCE, SEQUENCE = "EPIsode", "impedance", "sequence"
SHORTCUT, WITH_DISTANCE, ABLATION, OTHER = "shortcut", "with_distance", "ablation", "other"
TITLES = {
    EPISODE: "EPIsode",
    IMPEDANCE: "impedance baseline",
    SEQUENCE: "sequence baseline",
    SHORTCUT: "shortcut",
    WITH_DISTANCE: "with distance",
    ABLATION: "ablation",
    OTHER: "other",
}
"""What a group is called, in the order of the table."""

MEANINGS = {
    "episode.potential": "U_I alone: DNA only",
    "episode.student": "U_I with R_S, no labels",
    "episode.teacher": "U_I with R_T, known environments",
    "episode.fused": "U_I with the impedance in use",
    "episode.few_label_0": "no label shown",
    "episode.few_label_8": "8 labels an environment",
    "episode.few_label_32": "32 labels an environment",
    "episode.few_label_128": "128 labels an environment",
    "mean_impedance": "one impedance for all",
    "em": "label shift by EM",
    "bbse": "label shift by BBSE",
    "oracle": "reads the test labels",
    "bayes": "the planted truth",
    "cross_attention": "plain cross attention",
    "decoupled": "domain discriminator",
    "epivan": "CNN, BiGRU, attention",
    "sept": "domain-adversarial CNN-LSTM",
    "motif_gbm": "trees on motif scores",
    "ctcf_convergence": "convergent CTCF, one number",
    "ctcf_gbm": "trees on CTCF numbers",
    "kmer_lr": "k-mer logistic regression",
    "distance": "distance alone",
    "promoter_degree": "pairs of the promoter",
    "opportunist": "shortcut statistics",
    "episode_distance": "DNA and distance",
    "ablation.no_competition": "no pull, no push",
    "ablation.no_distillation": "R_S not taught by R_T",
    "ablation.no_pseudo_ood": "no pseudo-unseen tasks",
    "ablation.no_prior_shift": "no resampled shares",
    "ablation.single_pool": "mixed batches, no episodes",
}
"""What a row is, in a few words."""

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(row for row in row_order() if row_group(row) == group) for group in REGISTERED
}
"""The rows of each group, in the order of the table."""


@dataclass(frozen=True)
class Metric:
    """A metric in words; `better` is +1 where more is better and -1 where less is."""

    name: str
    better: int
    unit: str = ""


METRICS = {
    "auroc": Metric("AUROC", 1),
    "aupr": Metric("AUPR", 1),
    "precision_at_recall_70": Metric("precision at recall 0.7", 1),
    "log_loss": Metric("log-loss", -1, "nats"),
    "brier": Metric("Brier", -1),
    "ece": Metric("ECE", -1),
    "f1": Metric("F1 at 0.5", 1),
    "precision": Metric("precision at 0.5", 1),
    "recall": Metric("recall at 0.5", 1),
    "f1_chosen": Metric("F1, chosen", 1),
    "precision_chosen": Metric("precision, chosen", 1),
    "recall_chosen": Metric("recall, chosen", 1),
}


def group_of(method: str) -> str:
    """Return the group of a method, "other" where it is not registered."""
    return next((group for group, methods in GROUPS.items() if method in methods), OTHER)


def meaning(method: str) -> str:
    """Return in a few words what a method is; "" where it is not registered."""
    return MEANINGS.get(method, "")


def ordered(methods: Iterable[str]) -> list[str]:
    """Sort methods by group, then as listed in it; others last, by name."""
    place = {method: index for index, method in enumerate(method for group in GROUPS.values() for method in group)}
    return sorted(methods, key=lambda method: (place.get(method, len(place)), method))


def methods_of(results: ComparisonResults, group: str) -> list[str]:
    """Return the methods of a comparison that belong to a group, in order."""
    return [method for method in ordered(results.methods) if group_of(method) == group]


def best(results: ComparisonResults, methods: Sequence[str], metric: str) -> str | None:
    """Return the best of some methods by a macro metric, None where none of them has it."""
    values = {method: results.estimate(method, "macro", metric).value for method in methods}
    known = {method: METRICS[metric].better * value for method, value in values.items() if value is not None}
    return max(known, key=lambda method: known[method]) if known else None
