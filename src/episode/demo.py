"""The whole way on a planted world: simulate, build, train, predict unseen cell lines, evaluate, report.

Every number it prints is measured in the run. Nothing here is needed by the other modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from episode.checkpoint import load_run
from episode.config import Config, EpisodesConfig, StemConfig, TrainConfig, WindowConfig
from episode.data.build import build_dataset
from episode.data.genome import open_genome
from episode.data.splits import select_rows
from episode.data.storage import load_dataset, write_dataset
from episode.encode.store import build_store
from episode.evaluate.evaluation import evaluate, write_evaluation
from episode.evaluate.summary import load_truth
from episode.files import atomic_file, write_json
from episode.report.page import write_report
from episode.simulate import PRESETS, WorldConfig, simulate, write_tidy
from episode.train.loop import train

__all__ = ["DEMO_CONFIG", "DemoResult", "run_demo", "summarise_seeds"]

DEMO_CONFIG = Config(
    stem=StemConfig(bin=200),
    episodes=EpisodesConfig(query=128, support_max=1024),
    training=TrainConfig(steps=700, settle_steps=500),
)
"""Settings of the demo: smaller tasks and fewer steps than the defaults, so that two cores need minutes."""


@dataclass(frozen=True)
class DemoResult:
    """What one demo showed.

    Parameters
    ----------
    seed : int
    folder : Path
    unseen : dict
        Content of metrics.json of the unseen cell lines.
    known : dict
        The same of held-out loci of the training cell lines that the Teacher knows.
    """

    seed: int
    folder: Path
    unseen: dict[str, Any]
    known: dict[str, Any]

    def figures(self) -> dict[str, float]:
        """The numbers that the demo is judged by."""
        truth, pooled = self.unseen["truth"], self.unseen["pooled"]
        return {
            "spearman_impedance": truth["spearman_impedance"],
            "oracle_gain_share": truth["oracle_gain_share"],
            "macro_aupr_over_bayes": truth["macro_aupr_over_bayes"],
            "log_loss": pooled["log_loss"],
            "log_loss_mean_impedance": truth["log_loss_mean_impedance"],
            "interval_coverage": truth["interval_coverage"],
            "collapsed": sum(bool(entry["collapsed"]) for entry in self.unseen["environments"].values()),
            "known_aupr_potential": self.known["pooled"]["aupr_potential"],
            "known_aupr_fused": self.known["pooled"]["aupr"],
        }


def run_demo(
    folder: Path,
    *,
    seed: int,
    world: str = "both",
    preset: WorldConfig | None = None,
    config: Config = DEMO_CONFIG,
    say: Callable[[str], None] = lambda text: None,
) -> DemoResult:
    """Run the demo into a new folder.

    Parameters
    ----------
    folder : Path
        Gets world/, dataset/, run/, known/ and, at its top, the evaluation and the page of the unseen cell lines.
    seed : int
        Decides the world and the training.
    world : str
        "label", "concept" or "both".
    preset : WorldConfig, optional
        Size of the world; the demo's by default.
    config : Config
    say : callable
        Told what is going on, a line at a time.
    """
    say(f"1/5 simulate cell lines with known truth (world {world!r}, seed {seed})")
    write_tidy(simulate(preset or PRESETS["demo"], world, seed), folder / "world")
    say("2/5 build the dataset")
    genome = open_genome(folder / "world" / "genome.fa")
    dataset = build_dataset([folder / "world" / "pairs.tsv"], genome, WindowConfig(enhancer=0, promoter=0))
    write_dataset(dataset, folder / "dataset")
    dataset = load_dataset(folder / "dataset")
    say("3/5 train")
    cache = folder / "dataset" / "store"

    def report(step: int, steps: int, text: str) -> None:
        if text:
            say(f"    step {step} of {steps}: {text}")

    train(dataset, config, seed=seed, folder=folder / "run", cache=cache, report=report)
    say("4/5 predict unseen cell lines from unlabelled support, and held-out loci of known ones; evaluate")
    run = load_run(folder / "run")
    store = build_store(dataset, run.bank, config.stem, cache)
    truth = load_truth(folder / "world" / "truth")
    results = {}
    for name, split, known in (("unseen", "test", False), ("known", "val", True)):
        part = dataset.select(select_rows(dataset, split=split))
        results[name] = evaluate(run, part, store, seed=seed, truth=truth, known_only=known)
        write_evaluation(results[name], folder if name == "unseen" else folder / name, run_folder=folder / "run")
    say("5/5 draw the report")
    write_report(folder, title=f"EPIsode demo: unseen cell lines of a planted world (seed {seed})")
    return DemoResult(seed, folder, results["unseen"].summary, results["known"].summary)


def summarise_seeds(results: list[DemoResult], folder: Path) -> dict[str, dict[str, float]]:
    """Mean, least and greatest of the figures over several seeds; written to seeds.json and seeds.tsv."""
    figures = [result.figures() for result in results]
    summary = {}
    for name in figures[0]:
        values = np.array([entry[name] for entry in figures], dtype=float)
        summary[name] = {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
    per_seed = {str(result.seed): entry for result, entry in zip(results, figures, strict=True)}
    write_json(folder / "seeds.json", {"summary": summary, "seeds": per_seed})
    with atomic_file(folder / "seeds.tsv") as temporary:
        lines = ["\t".join(["seed", *figures[0]])]
        lines += ["\t".join([seed, *(f"{value:.4f}" for value in entry.values())]) for seed, entry in per_seed.items()]
        temporary.write_text("\n".join(lines) + "\n")
    return summary
