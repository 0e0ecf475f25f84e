"""The rows of a comparison and the families that fill them, in the order of the table.

Families are imported when they run: this module costs nothing to import.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from episode.errors import EpisodeError

if TYPE_CHECKING:
    from episode.compare.methods.base import Family

__all__ = [
    "BAYES",
    "FAMILIES",
    "GROUPS",
    "ORACLE",
    "FamilySpec",
    "choose_families",
    "row_group",
    "row_notes",
    "row_order",
    "seedless_rows",
]

ORACLE = "oracle"
"""The impedance of each environment that its labels call for; filled by the runner from episode.potential."""
BAYES = "bayes"
"""The log-odds that drew the labels, where a simulator planted them; filled by the runner."""
FEW_LABELS = (0, 8, 32, 128)
GROUPS = ("EPIsode", "impedance", "sequence", "shortcut", "with_distance", "ablation")
"""In the order of the table."""


@dataclass(frozen=True)
class FamilySpec:
    """Where a family lives and what it fills.

    Parameters
    ----------
    name : str
    group : str
        One of `GROUPS`, of rows that `groups` does not name.
    rows : tuple of str
    module, function : str
    random : bool
        Another seed gives other scores.
    usual : bool
        Runs when no rows are asked for.
    notes : dict of str to str
        What a reader must know of a row.
    groups : dict of str to str
        Group of single rows.
    """

    name: str
    group: str
    rows: tuple[str, ...]
    module: str
    function: str = "score_fold"
    random: bool = True
    usual: bool = True
    notes: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def load(self) -> Family:
        """Import the family."""
        module = importlib.import_module(f"episode.compare.methods.{self.module}")
        family: Family = getattr(module, self.function)
        return family


FAMILIES = (
    FamilySpec(
        "episode",
        "EPIsode",
        (
            "episode.potential",
            "episode.student",
            "episode.teacher",
            "episode.fused",
            *(f"episode.few_label_{count}" for count in FEW_LABELS),
            "mean_impedance",
            "em",
            "bbse",
            "opportunist",
        ),
        "episode_rows",
        notes={
            "episode.potential": "U_I alone: ranks, claims no probability",
            "episode.teacher": "only environments that the Teacher knows",
            **{
                f"episode.few_label_{count}": f"{count} labels an environment and fold; every labelled pair is "
                "left out of all few-label rows"
                for count in FEW_LABELS
            },
            "mean_impedance": "U_I with one impedance for all: the one that fits the held-out training pairs",
            "em": "U_I with the impedance that EM reads from the scores",
            "bbse": "U_I with the impedance that BBSE reads from the scores",
            "opportunist": "EPIsode's own Opportunist: shortcut statistics alone",
        },
        groups={"mean_impedance": "impedance", "em": "impedance", "bbse": "impedance", "opportunist": "shortcut"},
    ),
    FamilySpec("cross_attention", "sequence", ("cross_attention",), "cross_attention"),
    FamilySpec("decoupled", "sequence", ("decoupled",), "decoupled"),
    FamilySpec(
        "epivan", "sequence", ("epivan",), "epivan", notes={"epivan": "own implementation, smaller than published"}
    ),
    FamilySpec("sept", "sequence", ("sept",), "sept", notes={"sept": "own implementation, smaller than published"}),
    FamilySpec("motif_gbm", "sequence", ("motif_gbm",), "motif_gbm"),
    FamilySpec("ctcf_convergence", "sequence", ("ctcf_convergence",), "ctcf", "score_convergence", random=False),
    FamilySpec("ctcf_gbm", "sequence", ("ctcf_gbm",), "ctcf", "score_gbm", random=False),
    FamilySpec("kmer_lr", "sequence", ("kmer_lr",), "kmer_lr", random=False),
    FamilySpec(
        "distance",
        "shortcut",
        ("distance",),
        "shortcuts",
        "score_distance",
        random=False,
        notes={"distance": "no sequence: minus the log of the distance"},
    ),
    FamilySpec(
        "promoter_degree",
        "shortcut",
        ("promoter_degree",),
        "shortcuts",
        "score_promoter_degree",
        random=False,
        notes={"promoter_degree": "no sequence: candidates that share the promoter"},
    ),
    FamilySpec(
        "episode_distance",
        "with_distance",
        ("episode_distance",),
        "with_distance",
        usual=False,
        notes={
            "episode_distance": "not a sequence-only row: a training of its own whose U_I reads the distance as well"
        },
    ),
    *(
        FamilySpec(f"ablation.{name}", "ablation", (f"ablation.{name}",), "ablations", name, usual=False)
        for name in ("no_competition", "no_distillation", "no_pseudo_ood", "no_prior_shift", "single_pool")
    ),
)


def choose_families(asked: Sequence[str]) -> list[FamilySpec]:
    """Find the families that fill the rows asked for; none asked for means the usual ones.

    A family may be asked for by its own name, by a row, or by its group.

    Raises
    ------
    EpisodeError
        At a name that is none of these.
    """
    if not asked:
        return [family for family in FAMILIES if family.usual]
    known = {name for family in FAMILIES for name in (family.name, family.group, *family.rows)} | {ORACLE, BAYES}
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise EpisodeError(f"--rows: no row {name!r}{meant} There are: {', '.join(sorted(known))}")
    wanted = {"episode" if name in (ORACLE, BAYES) else name for name in asked}
    return [family for family in FAMILIES if wanted & {family.name, family.group, *family.rows}]


def row_group(row: str) -> str:
    """Group of the table that a row belongs to."""
    if row in (ORACLE, BAYES):
        return "impedance"
    return next(family.groups.get(row, family.group) for family in FAMILIES if row in family.rows)


def row_notes() -> dict[str, str]:
    """What a reader must know of the rows, by row."""
    notes = {row: note for family in FAMILIES for row, note in family.notes.items()}
    return notes | {
        ORACLE: "reads the labels: the impedance of each environment that they call for",
        BAYES: "the planted truth",
    }


def seedless_rows() -> set[str]:
    """Rows that another seed would not change, and those that only follow another row or the truth."""
    return {row for family in FAMILIES if not family.random for row in family.rows} | {ORACLE, BAYES}


def row_order() -> list[str]:
    """All rows in the order of the table: by group, EPIsode's own shortcut after the plain ones."""
    rows = [row for family in FAMILIES for row in family.rows] + [ORACLE, BAYES]
    return sorted(rows, key=lambda row: (GROUPS.index(row_group(row)), row == "opportunist"))
