"""R_S where the prevalence of unseen cell lines lies outside training: the domain-kl benchmark, simulated.

    python benchmarks/shift.py OUT RESULT.json --worlds label,both,concept --seeds 51 --scale 0.3

For each world and seed: simulate preset `domain-kl-shift` (five training lines at 20 % positives, eight unseen ones at
50 %), run `episode compare domain-kl` and read what impedances, U_I and intervals are worth. With `--control` a world
of kind label whose unseen lines have 20 % too stands beside them. What is done is kept in OUT, so an interrupted call
goes on. Seed 0 is that of the training run; the seeds are those of the worlds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from episode.files import write_json
from episode.metrics.metrics import calibration_line
from episode.simulate import PRESETS, simulate, write_domain_kl
from student import compared, impedances

LOSSES = ("mean_impedance", "em", "bbse", "episode.student", "oracle")


def main() -> None:
    """Run what is missing, then write all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--worlds", default="label,both,concept")
    parser.add_argument("--seeds", default="51")
    parser.add_argument("--scale", type=float, default=0.3)
    parser.add_argument("--control", action="store_true", help="unseen lines at 20 %% too, worlds of kind label alone")
    args = parser.parse_args()
    found = []
    for seed in map(int, args.seeds.split(",")):
        runs = [(world, 0.5) for world in args.worlds.split(",")] + [("label", 0.2)] * args.control
        for world, prevalence in runs:
            found.append(_judge(args.out, world, prevalence, seed, args.scale))
            write_json(args.result, {"preset": "domain-kl-shift", "scale": args.scale, "sets": found})
            print(found[-1], flush=True)


def _judge(out: Path, world: str, prevalence: float, seed: int, scale: float) -> dict[str, Any]:
    folder = out / f"{world}-{prevalence}-{seed}"
    if not (folder / "world").exists():
        config = replace(PRESETS["domain-kl-shift"], unseen_prevalence=prevalence).scaled(scale)
        write_domain_kl(simulate(config, world, seed), folder / "world")
    truth = folder / "world" / "truth"
    results, figures = compared(folder, "domain-kl", folder / "world", "--truth", truth)
    methods = results["methods"]
    scores = pd.read_parquet(folder / "compared" / "scores" / "episode" / "seed0" / "test.parquet")
    scores = scores[scores["name"] == "episode.potential"]
    pairs = pd.read_parquet(folder / "compared" / "dataset" / "pairs.parquet", columns=["environment", "label"])
    pairs = pairs.iloc[scores["row"].to_numpy()]
    best = {record["environment"]: record["r_oracle"] for record in figures["impedance"]}
    logit = scores["score"].to_numpy() - pairs["environment"].map(best).to_numpy(float)
    line = calibration_line(pairs["label"].to_numpy(), logit)
    return {
        "world": world,
        "unseen_prevalence": prevalence,
        "seed": seed,
        **impedances(results, figures, LOSSES),
        "f1": {name: methods[name]["pooled"]["f1"]["value"] for name in ("episode.student", "oracle")},
        "aupr": {name: methods[name]["macro"]["aupr"]["value"] for name in ("episode.potential", "bayes")},
        "residual_slope": None if line is None else line.slope,
        "budget": methods["episode.potential"]["budget"],
    }


if __name__ == "__main__":
    main()
