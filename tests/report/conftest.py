"""A fabricated evaluation folder: a Student that reads most of the impedance, and a training log."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from episode.evaluate.summary import Truth, summarise
from episode.report.page import write_report

TEMPERATURE = 0.9
TRAINING_IMPEDANCE = 2.7


def fabricate(
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
    """Write metrics.json, predictions.parquet and training.jsonl as an evaluation does."""
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
                    "logit": (potential - student[index]) / TEMPERATURE,
                    "true": logit,
                }
            )
        )
    predictions = pd.concat(frames, ignore_index=True)
    names = [name.format(index) for index in range(environments)]
    table = pd.DataFrame(
        {
            "environment": names,
            "cell_line": names,
            "assay": "",
            "known": [index < environments // 8 for index in range(environments)],
            "r_student": student,
            "r_student_sd": 0.35,
            "r_student_low": student - 0.6,
            "r_student_high": student + 0.6,
            "r_teacher": [3.0 if index < environments // 8 else np.nan for index in range(environments)],
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
    (folder / "metrics.json").write_text(json.dumps(summary, allow_nan=False))
    predictions.drop(columns="true").to_parquet(folder / "predictions.parquet")
    if training:
        (folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in training_log(rng)))
    return folder


def training_log(rng: np.random.Generator, steps: int = 400) -> list[dict]:
    """Lines of a plausible training: losses fall, the slope rises, the competition wakes up now and then."""
    lines: list[dict] = []
    for step in range(steps):
        fall = np.exp(-step / 90)
        lines.append(
            {
                "kind": "train",
                "step": step,
                "task": 0.46 + 0.2 * fall + rng.normal(0, 0.05),
                "opportunist": 0.55 + 0.1 * fall + rng.normal(0, 0.05),
                "distillation": 0.15 + 1.5 * fall * rng.uniform(0.5, 1.5),
                "pull_in": max(0.0, rng.normal(0, 0.02)),
                "push_away": max(0.0, rng.normal(-0.01, 0.01)),
            }
        )
        if step % 25 == 24:
            lines.append(
                {
                    "kind": "validation",
                    "step": step,
                    "log_loss": 0.47 + 0.15 * fall + rng.normal(0, 0.004),
                    "aupr": 0.55 - 0.25 * fall,
                    "slope": 0.9 * (1 - fall) + rng.normal(0, 0.03) if step > 50 else None,
                }
            )
    return lines


@pytest.fixture(scope="session")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """Return a folder with everything in it, reported once, and what was written."""
    folder = fabricate(tmp_path_factory.mktemp("full"), pairs=300)
    return folder, write_report(folder, title="A & <B>")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of evaluation folders below a fresh path."""

    def make(**options: object) -> Path:
        return fabricate(tmp_path / "evaluation", **options)

    return make
