"""Fabricated folders of an evaluation and of a comparison: drawn scores, judged by the code that judges real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from episode.compare.figures import comparison_figures
from episode.compare.methods.registry import find_method
from episode.compare.results import (
    Audit,
    ComparisonProvenance,
    ComparisonResults,
    EnvironmentResults,
    FoldAudit,
    Intervals,
    MethodResults,
    ProtocolHeader,
)
from episode.data.pairs import Source
from episode.evaluate.curves import evaluation_figures, training_series
from episode.evaluate.figures import FoldAlarm, ImpedanceRecord, RunAlarm, RunFigures
from episode.evaluate.results import EvaluationIntervals, EvaluationProvenance, EvaluationResults, ScopeEstimates
from episode.evaluate.summary import Truth, summarise
from episode.metrics.intervals import MethodScores, summarise_methods
from episode.schema import write_model

__all__ = ["comparison", "evaluation", "training_log"]

TEMPERATURE = 0.9
TRAINING_IMPEDANCE = 2.7
NOTE = "own implementation, smaller than published"


def evaluation(
    folder: Path,
    *,
    environments: int = 16,
    pairs: int = 900,
    truth: bool = True,
    training: bool = True,
    noise: float = 0.35,
    seed: int = 0,
    name: str = "cell{:02d}",
) -> Path:
    """Write metrics.json and figures.json as an evaluation does: a Student that reads most of the impedance."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    impedance = rng.normal(3.3, 1.0, environments).clip(0.3)
    student = (TRAINING_IMPEDANCE + 0.85 * (impedance - 3.3) + rng.normal(0, noise, environments)).clip(0.1)
    frames = []
    for index in range(environments):
        n = int(pairs * rng.uniform(0.6, 1.4))
        simulated = rng.normal(1.6, 1.5, n)
        logit = simulated - impedance[index]
        potential = TEMPERATURE * (simulated + rng.normal(0, 0.5, n)) - 0.3
        frames.append(
            pd.DataFrame(
                {
                    "environment": name.format(index),
                    "cell_line": name.format(index),
                    "enhancer_name": [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(n)],
                    "promoter_name": "chr1:90000-90500",
                    "label": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8),
                    "potential": potential,
                    "impedance": student[index],
                    "logit": (potential - student[index]) / TEMPERATURE,
                    "true": logit,
                }
            )
        )
    predictions = pd.concat(frames, ignore_index=True)
    names = [name.format(index) for index in range(environments)]
    known = np.arange(environments) < environments // 3
    table = pd.DataFrame(
        {
            "environment": names,
            "cell_line": names,
            "assay": "",
            "known": known,
            "r_student": student,
            "r_student_sd": 0.35,
            "r_student_low": student - 0.6,
            "r_student_high": student + 0.6,
            "r_teacher": np.where(known, student + 0.2, np.nan),
            "r_used": student,
            "support_size": 512,
            "warnings": [
                "support lies outside what training saw" if index == 3 else "" for index in range(environments)
            ],
        }
    )
    simulated_truth = Truth(
        environments=pd.DataFrame({"cell_line": names, "impedance": impedance}),
        pairs=predictions[["cell_line", "enhancer_name", "promoter_name", "potential"]].assign(
            logit=predictions["true"]
        ),
    )
    summary = summarise(
        predictions,
        table,
        temperature=TEMPERATURE,
        truth=simulated_truth if truth else None,
        training_impedance=TRAINING_IMPEDANCE,
    )
    results = EvaluationResults(
        **dict(summary), intervals=_intervals(predictions, rng), provenance=_evaluation_provenance(), training_alarms=[]
    )
    lines = training_log(rng) if training else []
    write_model(folder / "metrics.json", results)
    write_model(folder / "figures.json", evaluation_figures(predictions, results, lines))
    return folder


def _evaluation_provenance() -> EvaluationProvenance:
    return EvaluationProvenance(
        episode="0.1.0",
        python="3.11",
        time="2024-01-01T00:00:00+00:00",
        seed=0,
        training_seed=0,
        training_versions={"torch": "2.2"},
        training_environments=4,
        training_sources=[],
        calibration_slope_left=None,
        genome_sha256=None,
        sources=[Source(path="pairs.tsv", sha256="ab" * 32, rows=9)],
        config={},
    )


def _intervals(predictions: pd.DataFrame, rng: np.random.Generator) -> EvaluationIntervals:
    logit, potential = (predictions[key].to_numpy()[None] for key in ("logit", "potential"))
    nothing = np.full(logit.shape, np.nan)
    flat = (potential - TRAINING_IMPEDANCE) / TEMPERATURE
    found = summarise_methods(
        predictions["label"].to_numpy(),
        predictions["environment"].to_numpy(str),
        rng.integers(0, 30, len(predictions)),
        {
            "episode.fused": MethodScores(logit, logit, nothing),
            "mean_impedance": MethodScores(potential, flat, nothing),
        },
        subsets={},
        claims=[("episode.fused", "mean_impedance")],
        draws=40,
        rng=rng,
    )
    used, mean = found.methods["episode.fused"], found.methods["mean_impedance"]
    return EvaluationIntervals(
        **dict(found.intervals),
        block_bp=5_000_000,
        macro=used.macro,
        pooled=used.pooled,
        environments={name: entry.methods["episode.fused"] for name, entry in found.environments.items()},
        mean_impedance=ScopeEstimates(macro=mean.macro, pooled=mean.pooled),
        gain=found.differences["episode.fused-mean_impedance"],
    )


def training_log(rng: np.random.Generator, steps: int = 400, environments: int = 4) -> list[dict[str, Any]]:
    """Lines of a plausible training run: losses fall, the slope rises, the competition wakes up now and then."""
    lines: list[dict[str, Any]] = []
    for step in range(steps):
        fall = np.exp(-step / 90)
        tasks = [
            {
                "environment": f"train{index}",
                "pull_in": max(0.0, rng.normal(0, 0.02)),
                "push_away": max(0.0, rng.normal(-0.01, 0.01)),
                "ratio": 1 + 0.08 * np.sin(step / 40 + index) * (1 - fall),
            }
            for index in rng.choice(environments, 3, replace=False)
        ]
        lines.append(
            {
                "kind": "train",
                "step": step,
                "task": 0.46 + 0.2 * fall + rng.normal(0, 0.05),
                "opportunist": 0.55 + 0.1 * fall + rng.normal(0, 0.05),
                "distillation": 0.15 + 1.5 * fall * rng.uniform(0.5, 1.5),
                "tasks": [*tasks, {"environment": "train0", "kind": "mixed"}],
            }
        )
        if step % 25 == 24:
            lines.append(
                {
                    "kind": "validation",
                    "stage": "learn" if step < 300 else "settle",
                    "step": step,
                    "log_loss": 0.47 + 0.15 * fall + rng.normal(0, 0.004),
                    "aupr": 0.55 - 0.25 * fall,
                    "slope": 0.9 * (1 - fall) + rng.normal(0, 0.03) if step > 50 else None,
                }
            )
    return lines


def comparison(folder: Path, *, allowed_leak: bool = True, draws: int = 60, seed: int = 5) -> Path:
    """Write results.json and figures.json as a comparison does.

    Results are weak: U_I beats chance and distance, hardly promoter_degree, and loses to ctcf_gbm. One environment
    has positives only, one has five of them; U_I alone and ctcf_convergence claim no probability; the Teacher
    knows nothing.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"GM12878": 420, "HMEC": 260, "HUVEC": 300, "HeLa-S3": 280, "IMR90": 40, "K562": 380, "NHEK:CTCF": 90}
    prevalence = {
        "GM12878": 0.22,
        "HMEC": 0.12,
        "HUVEC": 0.13,
        "HeLa-S3": 0.1,
        "IMR90": 1.0,
        "K562": 0.16,
        "NHEK:CTCF": 0.05,
    }
    names = np.repeat(list(sizes), list(sizes.values()))
    offset = np.log([prevalence[name] / (1 - min(prevalence[name], 0.99)) for name in names])
    signal, level = rng.normal(size=names.size), rng.normal(size=names.size)
    label = (rng.random(names.size) < 1 / (1 + np.exp(-(offset + 0.9 * signal)))).astype(np.int8)
    label[names == "IMR90"] = 1
    fold = np.where(np.isin(names, ["GM12878", "IMR90"]), "gm-imr", np.where(names == "K562", "k562", "others"))
    nothing = np.full(names.size, np.nan)

    def scored(
        strength: float, shift: NDArray[np.float64] | float, *, claims: bool = True, seeds: int = 1
    ) -> MethodScores:
        score = np.stack(
            [strength * signal + (1 - strength) * rng.normal(size=names.size) + 0.1 * level for _ in range(seeds)]
        )
        logit = score + shift
        call = (score > np.quantile(score, 0.85)).astype(float)
        empty = np.full(score.shape, np.nan)
        return MethodScores(score, logit if claims else empty, call if claims else empty)

    middle = np.log(0.15 / 0.85)
    own = 0.45 * signal + 0.55 * rng.normal(size=names.size)
    few = rng.random(names.size) < 0.8

    def at_level(shift: NDArray[np.float64] | float, kept: NDArray[np.bool_] | None = None) -> MethodScores:
        logit = own + shift if kept is None else np.where(kept, own + shift, np.nan)
        call = np.where(np.isfinite(logit), (logit > np.nanquantile(logit, 0.85)).astype(float), np.nan)
        return MethodScores(logit[None], logit[None], call[None])

    student = middle + 0.5 * (offset.clip(-4, 4) - middle)
    table = {
        "episode.potential": MethodScores(own[None], nothing[None], nothing[None]),
        "episode.student": at_level(student),
        "episode.teacher": MethodScores(nothing[None], nothing[None], nothing[None]),
        "episode.fused": at_level(student),
        **{
            f"episode.few_label_{count}": at_level(middle + part * (offset.clip(-4, 4) - middle), few)
            for count, part in ((0, 0.5), (8, 0.6), (32, 0.8), (128, 0.95))
        },
        "mean_impedance": at_level(middle),
        "em": at_level(middle + 0.45 * (offset.clip(-4, 4) - middle)),
        "bbse": at_level(middle - 2.5 * (names == "K562")),
        "oracle": at_level(offset.clip(-4, 4)),
        "cross_attention": scored(0.2, middle),
        "decoupled": scored(0.3, middle, seeds=2),
        "epivan": scored(0.1, middle),
        "sept": scored(0.15, middle - 9),
        "motif_gbm": scored(0.4, middle),
        "ctcf_convergence": scored(0.7, middle, claims=False),
        "ctcf_gbm": scored(0.8, middle),
        "kmer_lr": scored(0.1, middle),
        "distance": scored(0.05, middle, claims=False),
        "promoter_degree": scored(0.36, middle, claims=False),
        "opportunist": scored(0.2, middle),
        "ablation.no_distillation": at_level(middle + 0.1),
    }
    baselines = [method for method in table if method in {"ctcf_gbm", "motif_gbm", "distance", "promoter_degree"}]
    claims = [("episode.potential", baseline) for baseline in baselines]
    claims += [("episode.student", "mean_impedance"), ("episode.student", "em"), ("episode.student", "bbse")]
    claims += [("episode.few_label_32", "episode.few_label_0")]
    found = summarise_methods(
        label,
        names.astype(str),
        rng.integers(0, 17, names.size),
        table,
        subsets={"hard": rng.random(names.size) < 0.6, "equal_length": rng.random(names.size) < 0.8},
        claims=claims,
        draws=draws,
        rng=rng,
    )
    results = ComparisonResults(
        format_version=1,
        protocol=ProtocolHeader(
            name="made-up",
            title="made-up loops <7 cell lines>",
            sentence="Held out by cell line; chromosomes are shared.",
            subsets={"hard": "negatives with two anchors", "equal_length": "anchors of one size"},
        ),
        methods={
            name: MethodResults(
                **dict(entry),
                group=find_method(name).group,
                note=NOTE if name in ("epivan", "sept") else "",
                seconds=None,
            )
            for name, entry in found.methods.items()
        },
        environments={
            name: EnvironmentResults(**dict(entry), known=False) for name, entry in found.environments.items()
        },
        differences=found.differences,
        intervals=Intervals(**dict(found.intervals), block_bp=5_000_000, unplaced=0),
        audit=Audit(
            policy="refuse",
            allowed=allowed_leak,
            locus_leak=allowed_leak,
            folds=[
                _fold_audit("others", 900, 930, *((0.31, 0.62, 0.0, 0.31) if allowed_leak else (0.0,) * 4)),
                _fold_audit("k562", 1390, 380),
            ],
        ),
        alarms=[FoldAlarm(fold="k562", seed=0, name="weak_potential", text="macro AUROC 0.52 +- 0.05")],
        provenance=ComparisonProvenance(
            episode="0.1.0",
            python="3.11",
            torch="2.2",
            numpy="2.0",
            scikit_learn="1.4",
            lightgbm="4.3",
            started="2024-01-01T00:00:00+00:00",
            job_seconds=1.0,
            seeds=[0, 1],
            sources=[Source(path="pairs.tsv.gz", sha256="0f" * 32, rows=1770)],
            genome_sha256=None,
            pairs=1770,
            collapsed=False,
            protocol={},
            config={"training": {"steps": 400, "alpha": None}},
        ),
    )
    figures = comparison_figures(
        label,
        names,
        {name: (scores.score[0], scores.logit[0]) for name, scores in table.items()},
        [_run(part, names[fold == part], -student[fold == part], rng) for part in np.unique(fold)],
        results,
        truth=pd.DataFrame({"cell_line": ["GM12878", "K562", "HMEC"], "impedance": [1.4, 1.9, 2.6]}),
        fold=fold,
    )
    write_model(folder / "results.json", results)
    write_model(folder / "figures.json", figures)
    return folder


def _fold_audit(
    name: str, train: int, test: int, enhancer: float = 0, promoter: float = 0, pair: float = 0, locus: float = 0
) -> FoldAudit:
    return FoldAudit(
        fold=name, title="", train=train, test=test, enhancer=enhancer, promoter=promoter, pair=pair, locus=locus
    )


def _run(fold: str, names: NDArray[np.str_], impedance: NDArray[np.float64], rng: np.random.Generator) -> RunFigures:
    """What one training run leaves: a Student around the right impedance, and a log."""
    records = []
    for name in np.unique(names):
        read = float(impedance[names == name][0])
        records.append(
            ImpedanceRecord(
                environment=str(name),
                fold=fold,
                known=False,
                r_student=read,
                r_student_sd=0.2,
                r_student_low=read - 0.4,
                r_student_high=read + 0.4,
                r_teacher=None,
                r_used=read,
                r_oracle=None,
                r_true=None,
                support_size=int((names == name).sum()),
            )
        )
    alarms = [RunAlarm(name="weak_potential", text="macro AUROC 0.52 +- 0.05")] if fold == "k562" else []
    return RunFigures(
        impedance=records,
        temperature=1.0,
        offset=0.0,
        level=0.0,
        alarms=alarms,
        roles={},
        training=training_series(training_log(rng, 120, 3), fold=fold, seed=0),
    )
