"""Fabricated folders of an evaluation and of a comparison: drawn scores, judged by the code that judges real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from episode.evaluate.curves import comparison_figures, evaluation_figures, impedance_records, training_series
from episode.evaluate.summary import Truth, summarise
from episode.metrics.intervals import RowScores, summarise_rows

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
        planted = rng.normal(1.6, 1.5, n)
        logit = planted - impedance[index]
        potential = TEMPERATURE * (planted + rng.normal(0, 0.5, n)) - 0.3
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
    planted_truth = Truth(
        environments=pd.DataFrame({"cell_line": names, "impedance": impedance}),
        pairs=predictions[["cell_line", "enhancer_name", "promoter_name", "potential"]].assign(
            logit=predictions["true"]
        ),
    )
    summary = summarise(
        predictions,
        table,
        temperature=TEMPERATURE,
        truth=planted_truth if truth else None,
        training_impedance=TRAINING_IMPEDANCE,
    )
    summary["intervals"] = _intervals(predictions, rng)
    summary["provenance"] = {"seed": 0, "sources": [{"path": "pairs.tsv", "sha256": "ab" * 32, "rows": 9}]}
    lines = training_log(rng) if training else []
    (folder / "metrics.json").write_text(json.dumps(summary, allow_nan=False))
    (folder / "figures.json").write_text(json.dumps(evaluation_figures(predictions, summary, lines), allow_nan=False))
    return folder


def _intervals(predictions: pd.DataFrame, rng: np.random.Generator) -> dict[str, Any]:
    logit, potential = (predictions[key].to_numpy()[None] for key in ("logit", "potential"))
    nothing = np.full(logit.shape, np.nan)
    flat = (potential - TRAINING_IMPEDANCE) / TEMPERATURE
    found = summarise_rows(
        predictions["label"].to_numpy(),
        predictions["environment"].to_numpy(str),
        rng.integers(0, 30, len(predictions)),
        {"episode.fused": RowScores(logit, logit, nothing), "mean_impedance": RowScores(potential, flat, nothing)},
        subsets={},
        claims=[("episode.fused", "mean_impedance")],
        draws=40,
        rng=rng,
    )
    used, mean = found["rows"]["episode.fused"], found["rows"]["mean_impedance"]
    return {
        **found["intervals"],
        "block_bp": 5_000_000,
        "macro": used["macro"],
        "pooled": used["pooled"],
        "environments": {name: entry["rows"]["episode.fused"] for name, entry in found["environments"].items()},
        "mean_impedance": {"macro": mean["macro"], "pooled": mean["pooled"]},
        "gain": found["differences"]["episode.fused-mean_impedance"],
    }


def training_log(rng: np.random.Generator, steps: int = 400, environments: int = 4) -> list[dict[str, Any]]:
    """Lines of a plausible training: losses fall, the slope rises, the competition wakes up now and then."""
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
    shares = {
        "GM12878": 0.22,
        "HMEC": 0.12,
        "HUVEC": 0.13,
        "HeLa-S3": 0.1,
        "IMR90": 1.0,
        "K562": 0.16,
        "NHEK:CTCF": 0.05,
    }
    names = np.repeat(list(sizes), list(sizes.values()))
    offset = np.log([shares[name] / (1 - min(shares[name], 0.99)) for name in names])
    signal, level = rng.normal(size=names.size), rng.normal(size=names.size)
    label = (rng.random(names.size) < 1 / (1 + np.exp(-(offset + 0.9 * signal)))).astype(np.int8)
    label[names == "IMR90"] = 1
    fold = np.where(np.isin(names, ["GM12878", "IMR90"]), "gm-imr", np.where(names == "K562", "k562", "others"))
    nothing = np.full(names.size, np.nan)

    def scored(
        strength: float, shift: NDArray[np.float64] | float, *, claims: bool = True, seeds: int = 1
    ) -> RowScores:
        score = np.stack(
            [strength * signal + (1 - strength) * rng.normal(size=names.size) + 0.1 * level for _ in range(seeds)]
        )
        logit = score + shift
        call = (score > np.quantile(score, 0.85)).astype(float)
        empty = np.full(score.shape, np.nan)
        return RowScores(score, logit if claims else empty, call if claims else empty)

    middle = np.log(0.15 / 0.85)
    own = 0.45 * signal + 0.55 * rng.normal(size=names.size)
    few = rng.random(names.size) < 0.8

    def level_row(shift: NDArray[np.float64] | float, rows: NDArray[np.bool_] | None = None) -> RowScores:
        logit = own + shift if rows is None else np.where(rows, own + shift, np.nan)
        call = np.where(np.isfinite(logit), (logit > np.nanquantile(logit, 0.85)).astype(float), np.nan)
        return RowScores(logit[None], logit[None], call[None])

    student = middle + 0.5 * (offset.clip(-4, 4) - middle)
    table = {
        "episode.potential": RowScores(own[None], nothing[None], nothing[None]),
        "episode.student": level_row(student),
        "episode.teacher": RowScores(nothing[None], nothing[None], nothing[None]),
        "episode.fused": level_row(student),
        **{
            f"episode.few_label_{count}": level_row(middle + part * (offset.clip(-4, 4) - middle), few)
            for count, part in ((0, 0.5), (8, 0.6), (32, 0.8), (128, 0.95))
        },
        "mean_impedance": level_row(middle),
        "em": level_row(middle + 0.45 * (offset.clip(-4, 4) - middle)),
        "bbse": level_row(middle - 2.5 * (names == "K562")),
        "oracle": level_row(offset.clip(-4, 4)),
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
        "ablation.no_distillation": level_row(middle + 0.1),
    }
    rivals = [row for row in table if row in {"ctcf_gbm", "motif_gbm", "distance", "promoter_degree"}]
    claims = [("episode.potential", row) for row in rivals]
    claims += [("episode.student", "mean_impedance"), ("episode.student", "em"), ("episode.student", "bbse")]
    claims += [("episode.few_label_32", "episode.few_label_0")]
    content = summarise_rows(
        label,
        names.astype(str),
        rng.integers(0, 17, names.size),
        table,
        subsets={"hard": rng.random(names.size) < 0.6, "equal_length": rng.random(names.size) < 0.8},
        claims=claims,
        draws=draws,
        rng=rng,
    )
    content["intervals"]["block_bp"] = 5_000_000
    for row, entry in content["rows"].items():
        entry["note"] = NOTE if row in ("epivan", "sept") else ""
    leaking = {"enhancer": 0.31, "promoter": 0.62, "pair": 0.0, "locus": 0.31} if allowed_leak else {}
    clean = dict.fromkeys(("enhancer", "promoter", "pair", "locus"), 0.0)
    results = {
        "format_version": 1,
        "protocol": {
            "name": "made-up",
            "title": "made-up loops <7 cell lines>",
            "sentence": "Held out by cell line; chromosomes are shared.",
            "subsets": {"hard": "negatives with two anchors", "equal_length": "anchors of one size"},
        },
        **content,
        "audit": {
            "policy": "refuse",
            "allowed": allowed_leak,
            "locus_leak": allowed_leak,
            "folds": [
                {"fold": "others", "train": 900, "test": 930} | clean | leaking,
                {"fold": "k562", "train": 1390, "test": 380} | clean,
            ],
        },
        "provenance": {
            "episode": "0.1.0",
            "started": "2024-01-01T00:00:00+00:00",
            "seeds": [0, 1],
            "sources": [{"path": "pairs.tsv.gz", "sha256": "0f" * 32, "rows": 1770}],
            "config": {"training": {"steps": 400, "alpha": None}},
        },
    }
    figures = comparison_figures(
        label,
        names,
        {row: (scores.score[0], scores.logit[0]) for row, scores in table.items()},
        [_extras(part, names[fold == part], -student[fold == part], rng) for part in np.unique(fold)],
        results,
        truth=pd.DataFrame({"cell_line": ["GM12878", "K562", "HMEC"], "impedance": [1.4, 1.9, 2.6]}),
        fold=fold,
    )
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False))
    (folder / "figures.json").write_text(json.dumps(figures, allow_nan=False))
    return folder


def _extras(
    fold: str, names: NDArray[np.str_], impedance: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, Any]:
    """What one training leaves: a Student around the right impedance, and a log."""
    entries = {}
    for name in np.unique(names):
        read = float(impedance[names == name][0])
        entries[str(name)] = {
            "known": False,
            "support_size": int((names == name).sum()),
            "r_student": read,
            "r_student_sd": 0.2,
            "r_student_low": read - 0.4,
            "r_student_high": read + 0.4,
            "r_used": read,
        }
    return {
        "impedance": impedance_records(entries, fold=fold),
        "temperature": 1.0,
        "level": 0.0,
        "training": training_series(training_log(rng, 120, 3), fold=fold, seed=0),
        "alarms": [{"name": "weak_potential", "text": "macro AUROC 0.52 +- 0.05"}] if fold == "k562" else [],
    }
