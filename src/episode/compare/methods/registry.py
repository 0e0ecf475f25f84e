"""The methods of a comparison: what each is called, means and is claimed against, and the runners that fill them.

A new method is a module beside this one, an entry in `RUNNERS` and, where it is compared with others, in `CLAIMS`.
Runners are imported when they run, so that this module costs little to import. It does NOT know numbers or tables.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from episode.errors import EpisodeError
from episode.schema import did_you_mean

if TYPE_CHECKING:
    from episode.compare.methods.base import Runner

__all__ = [
    "ABLATION",
    "BAYES",
    "CLAIMS",
    "EPISODE",
    "EPISODE_RUNNER",
    "FEW_LABELS",
    "GROUPS",
    "IMPEDANCE",
    "MATCHED_BUDGET",
    "METHODS",
    "ORACLE",
    "OTHER",
    "RUNNERS",
    "SEQUENCE",
    "SHORTCUT",
    "SPECTRUM_CLAIMS",
    "TOLD",
    "WITH_DISTANCE",
    "Method",
    "RunnerSpec",
    "baselines_of",
    "choose_runners",
    "find_method",
    "ordered",
]

EPISODE, IMPEDANCE, SEQUENCE = "EPIsode", "impedance", "sequence"
MATCHED_BUDGET, SHORTCUT, WITH_DISTANCE, ABLATION, OTHER = "matched", "shortcut", "with_distance", "ablation", "other"
GROUPS = {
    EPISODE: "EPIsode",
    IMPEDANCE: "impedance baseline",
    SEQUENCE: "sequence baseline",
    MATCHED_BUDGET: "sequence baseline, matched budget",
    SHORTCUT: "shortcut",
    WITH_DISTANCE: "with distance",
    ABLATION: "ablation",
    OTHER: "other",
}
"""What a group of methods is called, in the order of the table."""
EPISODE_RUNNER = "episode"
"""Name of the runner that trains EPIsode itself."""
FEW_LABELS = (0, 8, 32, 128)
"""Numbers of labels of an environment that the methods ``episode.few_label_<number>`` are shown."""


@dataclass(frozen=True)
class Method:
    """A method in words.

    Parameters
    ----------
    name : str
        Key in files.
    group : str
        One of `GROUPS`.
    meaning : str
        What it is, in a few words.
    note : str
        What a reader must know of it; may be empty.
    random : bool
        Another seed gives other scores.
    always : bool
        Its runner fills it in every fold.
    """

    name: str
    group: str
    meaning: str = ""
    note: str = ""
    random: bool = True
    always: bool = True


@dataclass(frozen=True)
class RunnerSpec:
    """Where a runner lives and which methods it fills.

    Parameters
    ----------
    name : str
        Key in files.
    module, function : str
        Of this package.
    by_default : bool
        Runs when no methods are asked for.
    matched : bool
        Is given as many pairs to draw as the training run of EPIsode on the same fold with the same seed has drawn.
    """

    name: str
    methods: tuple[Method, ...]
    module: str
    function: str = "score_fold"
    by_default: bool = True
    matched: bool = False

    @property
    def random(self) -> bool:
        """Whether another seed gives other scores."""
        return any(method.random for method in self.methods)

    @property
    def names(self) -> set[str]:
        """What the runner may be asked for by: its own name, its methods, and the group of the first of them."""
        return {self.name, self.methods[0].group, *(method.name for method in self.methods)}

    def load(self) -> Runner:
        """Import the runner."""
        module = importlib.import_module(f"episode.compare.methods.{self.module}")
        runner: Runner = getattr(module, self.function)
        return runner


def _single(method: Method, module: str, function: str = "score_fold", *, by_default: bool = True) -> RunnerSpec:
    """Return the runner of a method that is filled alone."""
    return RunnerSpec(method.name, (method,), module, function, by_default)


def _matched(name: str, meaning: str, note: str = "") -> RunnerSpec:
    """Return the runner of a neural baseline that draws as many pairs as EPIsode."""
    method = Method(f"{name}.matched", MATCHED_BUDGET, f"{meaning}, as many pairs drawn as EPIsode", note)
    return RunnerSpec(method.name, (method,), name, by_default=False, matched=True)


LESS_LABELLED = "{} labels an environment and fold; every labelled pair is left out of all few-label methods"
SMALLER = "own implementation, smaller than published"

RUNNERS = (
    RunnerSpec(
        EPISODE_RUNNER,
        (
            Method("episode.potential", EPISODE, "U_I alone: DNA only", "U_I alone: ranks, claims no probability"),
            Method("episode.student", EPISODE, "U_I with R_S, no labels"),
            Method(
                "episode.teacher",
                EPISODE,
                "U_I with R_T, known environments",
                "only environments that the Teacher knows",
            ),
            Method("episode.fused", EPISODE, "U_I with the impedance in use"),
            Method(
                "episode.network",
                EPISODE,
                "U_I with R_S of the network, no labels",
                "runs with one member only: R_S of the set encoder, which the closed form stands in for",
                always=False,
            ),
            *(
                Method(
                    f"episode.few_label_{count}",
                    EPISODE,
                    f"{count} labels an environment" if count else "no label shown",
                    LESS_LABELLED.format(count),
                )
                for count in FEW_LABELS
            ),
            Method(
                "mean_impedance",
                IMPEDANCE,
                "one impedance for all",
                "U_I with one impedance for all: the one that fits the held-out training pairs",
            ),
            Method("em", IMPEDANCE, "label shift by EM", "U_I with the impedance that EM reads from the scores"),
            Method("bbse", IMPEDANCE, "label shift by BBSE", "U_I with the impedance that BBSE reads from the scores"),
            Method(
                "opportunist",
                SHORTCUT,
                "shortcut statistics",
                "EPIsode's own Opportunist: shortcut statistics alone",
            ),
        ),
        "episode_methods",
    ),
    _single(Method("cross_attention", SEQUENCE, "plain cross attention"), "cross_attention"),
    _single(Method("decoupled", SEQUENCE, "domain discriminator"), "decoupled"),
    _single(Method("epivan", SEQUENCE, "CNN, BiGRU, attention", SMALLER), "epivan"),
    _single(Method("sept", SEQUENCE, "domain-adversarial CNN-LSTM", SMALLER), "sept"),
    _matched("cross_attention", "plain cross attention"),
    _matched("decoupled", "domain discriminator"),
    _matched("epivan", "CNN, BiGRU, attention", SMALLER),
    _matched("sept", "domain-adversarial CNN-LSTM", SMALLER),
    _single(Method("motif_gbm", SEQUENCE, "trees on motif scores"), "motif_gbm"),
    _single(
        Method("ctcf_convergence", SEQUENCE, "convergent CTCF, one number", random=False), "ctcf", "score_convergence"
    ),
    _single(Method("ctcf_gbm", SEQUENCE, "trees on CTCF numbers", random=False), "ctcf", "score_gbm"),
    _single(Method("kmer_lr", SEQUENCE, "k-mer logistic regression", random=False), "kmer_lr"),
    _single(
        Method("distance", SHORTCUT, "distance alone", "no sequence: minus the log of the distance", random=False),
        "shortcuts",
        "score_distance",
    ),
    _single(
        Method(
            "promoter_degree",
            SHORTCUT,
            "pairs of the promoter",
            "no sequence: candidates that share the promoter",
            random=False,
        ),
        "shortcuts",
        "score_promoter_degree",
    ),
    _single(
        Method(
            "locus_memory",
            SHORTCUT,
            "rate of positives among overlapping training pairs",
            "no sequence: what training says of the pair's places",
            random=False,
        ),
        "memory",
    ),
    _single(
        Method(
            "episode_distance",
            WITH_DISTANCE,
            "DNA and distance",
            "not a sequence-only method: a training run of its own whose U_I reads the distance as well",
        ),
        "with_distance",
        by_default=False,
    ),
    *(
        _single(Method(f"ablation.{name}", ABLATION, meaning), "ablations", name, by_default=False)
        for name, meaning in (
            ("no_competition", "no pull, no push"),
            ("no_distillation", "R_S not taught by R_T"),
            ("no_pseudo_ood", "no pseudo-unseen tasks"),
            ("no_prior_shift", "no resampled prevalence"),
            ("single_pool", "mixed batches, no episodes"),
        )
    ),
)
TOLD = Method(
    "episode.prevalence_told",
    EPISODE,
    "U_I with R_E of the true prevalence",
    "reads the prevalence of each test environment off its labels; predict --prevalence would be told it",
)
"""Follows from the scores of mean_impedance and the labels; no runner fills it."""
ORACLE = Method(
    "oracle",
    IMPEDANCE,
    "reads the test labels",
    "reads the labels: the impedance of each environment that they call for",
    random=False,
)
"""Follows from the scores of episode.potential and the labels; no runner fills it."""
BAYES = Method("bayes", IMPEDANCE, "the simulated truth", "the simulated truth", random=False)
"""The log-odds that drew the labels, where they are simulated; no runner fills it."""

METHODS = {
    method.name: method
    for method in sorted(
        (*(method for runner in RUNNERS for method in runner.methods), TOLD, ORACLE, BAYES),
        key=lambda method: (list(GROUPS).index(method.group), method.name == "opportunist"),
    )
}
"""All methods by name, in the order of the table: by group, EPIsode's own shortcut after the plain ones."""

CLAIMS = (
    *(
        ("episode.potential", baseline)
        for baseline in (
            "ctcf_convergence",
            "ctcf_gbm",
            "motif_gbm",
            "kmer_lr",
            "cross_attention",
            "decoupled",
            "epivan",
            "sept",
            "distance",
            "promoter_degree",
            "locus_memory",
            "opportunist",
            *(runner.name for runner in RUNNERS if runner.matched),
        )
    ),
    ("episode_distance", "distance"),
    ("episode_distance", "episode.potential"),
    *(("episode.student", baseline) for baseline in ("mean_impedance", "em", "bbse", "episode.network", "oracle")),
    ("episode.prevalence_told", "mean_impedance"),
    *(("episode.fused", baseline) for baseline in ("episode.student", "episode.teacher", "mean_impedance")),
    *((f"episode.few_label_{count}", "episode.few_label_0") for count in FEW_LABELS[1:]),
    *(("episode.fused", method) for method, about in METHODS.items() if about.group == ABLATION),
)
"""Methods whose difference, the first less the second, is given with its paired interval."""
SPECTRUM_CLAIMS = (("episode.student", "episode.potential"), ("episode.fused", "episode.potential"))
"""The same where there are several impedance channels: with one, both rank alike inside an environment."""


def choose_runners(asked: Sequence[str]) -> list[RunnerSpec]:
    """Find the runners that fill the methods asked for; none asked for means those that run by default.

    A runner may be asked for by its own name, by a method, or by a group. One whose budget is that of EPIsode brings
    the runner of EPIsode.

    Raises
    ------
    EpisodeError
        At a name that is none of these.
    """
    if not asked:
        return [runner for runner in RUNNERS if runner.by_default]
    known = {TOLD.name, ORACLE.name, BAYES.name}.union(*(runner.names for runner in RUNNERS))
    for name in asked:
        if name not in known:
            hint = did_you_mean(name, sorted(known))
            raise EpisodeError(f"--methods: no method {name!r}{hint} There are: {', '.join(sorted(known))}")
    wanted = {EPISODE_RUNNER if name in (TOLD.name, ORACLE.name, BAYES.name) else name for name in asked}
    if any(wanted & runner.names for runner in RUNNERS if runner.matched):
        wanted.add(EPISODE_RUNNER)
    return [runner for runner in RUNNERS if wanted & runner.names]


def find_method(name: str) -> Method:
    """Return what is known of a method; of one that is not listed, its name and the group "other"."""
    return METHODS.get(name, Method(name, OTHER))


def baselines_of(method: str) -> list[str]:
    """Return what a method is claimed against."""
    return [second for first, second in CLAIMS if first == method]


def ordered(names: Iterable[str]) -> list[str]:
    """Sort methods as the table has them; those that are not listed last, by name."""
    place = {name: index for index, name in enumerate(METHODS)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))
