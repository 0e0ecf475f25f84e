"""Predictions for every pair of every environment of a dataset: the formula, once.

The result does not depend on batch size, row order or threads beyond rounding. Writes nothing; knows no file formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from episode.checkpoint import Alarm, Run
from episode.data.dataset import Dataset
from episode.encode.store import ElementStore
from episode.errors import EpisodeError
from episode.inference.closed_form import View
from episode.inference.members import Source, member_caches, score_members
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.support_sampling import content_ranks, draw_support
from episode.predict.alarms import alarm_texts
from episode.predict.impedance import EnvironmentEstimate, deviation, estimate_environment, exposure_of
from episode.predict.student import Prevalence, support_size

__all__ = [
    "COLUMNS",
    "EnvironmentFacts",
    "Predictions",
    "Scores",
    "distance_warning",
    "draw_supports",
    "environment_frame",
    "environment_views",
    "genome_warning",
    "predict_dataset",
    "score_pairs",
]

COLUMNS = ("potential", "impedance", "logit", "probability", "probability_low", "probability_high")
"""What prediction adds to the columns of a pair."""


@dataclass(frozen=True)
class Predictions:
    """What prediction gives.

    Parameters
    ----------
    pairs : DataFrame
        The pairs of the dataset in their order, with the columns `COLUMNS`: U_I and R_E in one unit, the logit
        ``(U_I - R_E) / T``, its sigmoid, and the 90 % interval that the uncertainty of R_E alone gives it. With a
        spectrum R_E is that of the pair.
    environments : DataFrame
        One row an environment: the fields of `EnvironmentEstimate`, with cell_line, assay and n. With a spectrum the
        channels are columns student_1, student_2, ..., teacher_1, ..., used_1, ...; with one they are left out. The
        alarms of the run are among the warnings.
    estimates : tuple of EnvironmentEstimate
        The same, as they were made.
    supports : tuple of ndarray of int64
        Of each estimate, the rows of `pairs` that are its support set; of the pairs of `support`, where that was given.
    exposure : ndarray, shape (n, K)
        Of every pair to the channels.
    """

    pairs: pd.DataFrame
    environments: pd.DataFrame
    estimates: tuple[EnvironmentEstimate, ...]
    supports: tuple[np.ndarray, ...]
    exposure: np.ndarray


def predict_dataset(
    run: Run,
    dataset: Dataset,
    store: ElementStore,
    *,
    seed: int = 0,
    batch: int = 4096,
    support: tuple[Dataset, ElementStore] | None = None,
    told: Prevalence | None = None,
    labelled: tuple[Dataset, ElementStore] | None = None,
) -> Predictions:
    """Predict every pair of a dataset; labels in it are not read.

    Parameters
    ----------
    store : ElementStore
        Of the dataset's elements, made with the run's bank and stem configuration.
    seed : int
        Decides the support set of an environment that has more pairs than the largest support.
    support : (Dataset, ElementStore), optional
        Candidates that are not scored, from which the support sets are drawn; by default these are drawn from
        `dataset`.
    told : Prevalence, optional
        Of every environment, in place of what Student and Teacher say.
    labelled : (Dataset, ElementStore), optional
        Labelled pairs that refine the impedance of the environments they belong to.

    Raises
    ------
    EpisodeError
        If `support` has no pair of an environment.
    """
    pairs = dataset.pairs
    rows = pair_rows(dataset)
    environment, names = pd.factorize(pairs["environment"], sort=True)
    codes = member_caches(run.members, store)
    candidates, sources = (dataset, codes) if support is None else (support[0], member_caches(run.members, support[1]))
    drawn = rows if support is None else pair_rows(candidates)
    supports = draw_supports(run, candidates, drawn, list(map(str, names)), seed)
    estimates: list[EnvironmentEstimate] = []
    for name, chosen in supports.items():
        mine = drawn.take(chosen)
        view = None if run.student is None else run.student.view(candidates.elements, candidates.digests, mine)
        estimates.append(
            estimate_environment(run, sources, mine, name, seed=seed, view=view, told=told, labelled=labelled)
        )
    scores = score_pairs(run, codes, rows, environment, estimates, batch=batch)
    result = pairs.drop(columns=[name for name in COLUMNS if name in pairs]).assign(**scores.columns)
    first = pairs.drop_duplicates("environment").set_index("environment")
    facts = [
        EnvironmentFacts(first.loc[name, "cell_line"], first.loc[name, "assay"], int((environment == number).sum()))
        for number, name in enumerate(names)
    ]
    return Predictions(
        result,
        environment_frame(facts, estimates, run.alarms),
        tuple(estimates),
        tuple(supports.values()),
        scores.exposure,
    )


def draw_supports(
    run: Run, candidates: Dataset, rows: PairRows, names: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Draw the support set of each environment: rows of `candidates`, in the order of `names`.

    Parameters
    ----------
    rows : PairRows
        Those of `candidates`.

    Raises
    ------
    EpisodeError
        If there is no pair of an environment.
    """
    rank = content_ranks(seed, candidates.digests, rows)
    supports = {}
    for name in names:
        index = np.flatnonzero(candidates.pairs["environment"] == name)
        if not len(index):
            raise EpisodeError(f"the support has no pair of {name!r}; needs candidates of every environment")
        supports[name] = index[draw_support(rank[index], rows.take(index), support_size(run))]
    return supports


def environment_views(run: Run, dataset: Dataset, seed: int) -> dict[str, View | None]:
    """Tell which training pairs each environment resembles, as `predict_dataset` does; None without such a Student."""
    names = sorted(map(str, dataset.pairs["environment"].unique()))
    if run.student is None:
        return dict.fromkeys(names)
    rows = pair_rows(dataset)
    supports = draw_supports(run, dataset, rows, names, seed)
    return {
        name: run.student.view(dataset.elements, dataset.digests, rows.take(chosen))
        for name, chosen in supports.items()
    }


@dataclass(frozen=True)
class Scores:
    """What the formula gives n pairs.

    Parameters
    ----------
    columns : dict of str to ndarray, shape (n,), float64
        Those of `COLUMNS`.
    exposure : ndarray, shape (n, K)
        Of each pair to the channels.
    """

    columns: dict[str, np.ndarray]
    exposure: np.ndarray


def score_pairs(
    run: Run,
    sources: Sequence[Source],
    rows: PairRows,
    environment: np.ndarray,
    estimates: Sequence[EnvironmentEstimate],
    *,
    batch: int = 4096,
) -> Scores:
    """Score pairs whose environments are estimated; elements are read in their own order.

    Parameters
    ----------
    sources : sequence of ElementStore or ElementCache
        One for each member of the run.
    rows : PairRows
        n pairs; neither labels nor shortcut statistics are read.
    environment : ndarray, shape (n,), int
        Of each pair, an index into `estimates`.
    """
    temperature = run.temperature
    potential = np.zeros(len(rows))
    exposure = np.ones((len(rows), run.system.exposure.channels))
    order = rows.element_order()
    for start in range(0, len(rows), batch):
        index = order[start : start + batch]
        potential[index], output = score_members(run.members, sources, rows.take(index), block=batch)
        exposure[index] = exposure_of(run, output)
    impedance = np.zeros((3, len(rows)))
    for number, estimate in enumerate(estimates):
        index = np.flatnonzero(environment == number)
        potential[index] = run.potential(potential[index], estimate.view)
        level = np.array([[estimate.r_used], [estimate.r_used_low], [estimate.r_used_high]])
        impedance[:, index] = level + deviation(estimate, exposure[index])
    logit = (potential - impedance[0]) / temperature
    columns = {
        "potential": potential,
        "impedance": impedance[0],
        "logit": logit,
        "probability": expit(logit),
        "probability_low": expit((potential - impedance[2]) / temperature),
        "probability_high": expit((potential - impedance[1]) / temperature),
    }
    return Scores(columns, exposure)


def genome_warning(run: Run, given: str | None) -> str | None:
    """Return a warning where pairs were read from a genome file (SHA-256 `given`) that the run was not trained on."""
    trained = run.facts.genome_sha256
    if trained is None or given is None or trained == given:
        return None
    return (
        f"the model was trained on another genome file (SHA-256 {trained[:12]}..., these pairs {given[:12]}...): "
        "if it is another build, coordinates mean other bases"
    )


def distance_warning(run: Run, missing: int, pairs: int) -> str | None:
    """Return a warning where U_I has a term of the distance and `missing` of `pairs` pairs have no distance."""
    if run.system.backbone.decay is None or not missing:
        return None
    return (
        f"U_I of this model has a distance term (potential.distance); it is absent in {missing:,} of "
        f"{pairs:,} pairs, whose distance is not known: they are scored by sequence alone, as if at the "
        "mean distance of training"
    )


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a table holds of one environment: names, and number of pairs."""

    cell_line: str
    assay: str
    n: int


def environment_frame(
    facts: Sequence[EnvironmentFacts], estimates: Sequence[EnvironmentEstimate], alarms: Sequence[Alarm]
) -> pd.DataFrame:
    """Environments as a table, one row each; the alarms of the run join the warnings of each. See `Predictions`."""
    records = []
    raised = alarm_texts(alarms)
    for fact, estimate in zip(facts, estimates, strict=True):
        fields = asdict(estimate) | {"warnings": "; ".join([*estimate.warnings, *raised])}
        record = {"environment": fields.pop("environment"), **asdict(fact)}
        for name in ("student", "teacher", "used"):
            channels = fields.pop(name)
            if len(channels) > 1:
                fields |= {f"{name}_{k}": value for k, value in enumerate(channels, start=1)}
        records.append(record | fields)
    return pd.DataFrame.from_records(records)
