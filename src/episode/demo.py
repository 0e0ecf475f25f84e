"""The end-to-end demo on a simulated world: simulate, build, train, predict unseen cell lines, evaluate, report.

Every number it prints is measured in the run. Nothing here is needed by the other modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from episode.checkpoint import load_run
from episode.config import Config, EpisodesConfig, StemConfig, TrainConfig, WindowConfig
from episode.data.build import build_dataset
from episode.data.genome import open_genome
from episode.data.splits import select_rows
from episode.data.storage import load_dataset, write_dataset
from episode.encode.store import build_store
from episode.evaluate.evaluation import evaluate, write_evaluation
from episode.evaluate.results import EvaluationResults, TruthSummary
from episode.evaluate.summary import load_truth
from episode.files import atomic_file, write_json
from episode.report.page import write_report
from episode.simulate import PRESETS, WorldConfig, simulate, write_tidy
from episode.train.crossfit import train

__all__ = ["DEMO_CONFIG", "DemoResult", "run_demo", "summarise_seeds"]

DEMO_CONFIG = Config(
    stem=StemConfig(bin=200),
    episodes=EpisodesConfig(query=128, support_max=1024),
    training=TrainConfig(steps=700, settle_steps=200),
)
"""Settings of the demo: smaller tasks and fewer steps than the defaults, so that two cores need minutes."""


@dataclass(frozen=True)
class DemoResult:
    """What one demo showed.

    Parameters
    ----------
    seed : int
    folder : Path
    unseen : EvaluationResults
        Of the unseen cell lines.
    known : EvaluationResults
        Of held-out loci of the training cell lines that the Teacher knows.
    """

    seed: int
    folder: Path
    unseen: EvaluationResults
    known: EvaluationResults

    @property
    def truth(self) -> TruthSummary:
        """Numbers of the unseen cell lines against the simulated truth."""
        assert self.unseen.truth is not None  # the demo always gives it
        return self.unseen.truth

    def figures(self) -> dict[str, float]:
        """The numbers that the demo is judged by; NaN where one is not defined."""
        found = {
            "spearman_impedance": self.truth.spearman_impedance,
            "oracle_gain_share": self.truth.oracle_gain_share,
            "macro_aupr_over_bayes": self.truth.macro_aupr_over_bayes,
            "log_loss": self.unseen.pooled.log_loss,
            "log_loss_mean_impedance": self.truth.log_loss_mean_impedance,
            "interval_coverage": self.truth.interval_coverage,
            "collapsed": sum(bool(entry.collapsed) for entry in self.unseen.environments.values()),
            "known_aupr_potential": self.known.pooled.aupr_potential,
            "known_aupr_fused": self.known.pooled.aupr,
        }
        return {name: math.nan if value is None else value for name, value in found.items()}


def run_demo(
    folder: Path,
    *,
    seed: int,
    world: str = "both",
    preset: WorldConfig | None = None,
    config: Config = DEMO_CONFIG,
    report: Callable[[str], None] = lambda text: None,
) -> DemoResult:
    """Run the demo into a new folder.

    Parameters
    ----------
    folder : Path
        Gets world/, dataset/, run/, known/ and, at its top, the evaluation and the page of the unseen cell lines.
    seed : int
        Decides the world and the training run.
    world : str
        "label", "concept" or "both".
    preset : WorldConfig, optional
        Size of the world; the demo's by default.
    config : Config
    report : callable
        Called with a line of progress.
    """
    report(f"1/5 simulate cell lines with known truth (world {world!r}, seed {seed})")
    write_tidy(simulate(preset or PRESETS["demo"], world, seed), folder / "world")
    report("2/5 build the dataset")
    genome = open_genome(folder / "world" / "genome.fa")
    dataset = build_dataset([folder / "world" / "pairs.tsv"], genome, WindowConfig(enhancer=0, promoter=0))
    write_dataset(dataset, folder / "dataset")
    dataset = load_dataset(folder / "dataset")
    report("3/5 train")
    cache = folder / "dataset" / "store"

    def report_step(step: int, steps: int, text: str) -> None:
        if text:
            report(f"    step {step} of {steps}: {text}")

    train(dataset, config, seed=seed, folder=folder / "run", cache=cache, report=report_step)
    report("4/5 predict unseen cell lines from unlabelled support, and held-out loci of known ones; evaluate")
    run = load_run(folder / "run")
    store = build_store(dataset, run.bank, config.stem, cache)
    truth = load_truth(folder / "world" / "truth")
    results = {}
    for name, split, known in (("unseen", "test", False), ("known", "val", True)):
        part = dataset.select(select_rows(dataset, split=split))
        results[name] = evaluate(run, part, store, seed=seed, truth=truth, known_only=known)
        write_evaluation(results[name], folder if name == "unseen" else folder / name, run_folder=folder / "run")
    report("5/5 draw the report")
    write_report(folder, title=f"EPIsode demo: unseen cell lines of a simulated world (seed {seed})")
    return DemoResult(seed, folder, results["unseen"].results, results["known"].results)


def summarise_seeds(results: list[DemoResult], folder: Path) -> dict[str, dict[str, float]]:
    """Mean, minimum and maximum of the figures over several seeds; written to seeds.json and seeds.tsv."""
    figures = [result.figures() for result in results]
    summary = {}
    for name in figures[0]:
        values = np.array([entry[name] for entry in figures], dtype=float)
        summary[name] = {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    per_seed = {str(result.seed): entry for result, entry in zip(results, figures, strict=True)}
    write_json(folder / "seeds.json", {"format_version": 1, "summary": summary, "seeds": per_seed})
    with atomic_file(folder / "seeds.tsv") as temporary:
        lines = ["\t".join(["seed", *figures[0]])]
        lines += ["\t".join([seed, *(f"{value:.4f}" for value in entry.values())]) for seed, entry in per_seed.items()]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return summary
