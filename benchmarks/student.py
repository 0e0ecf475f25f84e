"""R_S in closed form against EM, BBSE and one impedance for all, on simulated worlds whose truth is known.

    python benchmarks/student.py OUT RESULT.json --worlds label,concept,both --lines 24,8 --seeds 31,32,33

For each world, number of training cell lines and seed: simulate, build, `episode compare simulated` with a single
member, and read pooled log-loss over the unseen cell lines, coverage of the 90 % interval of R_S (how often it holds
the impedance that the labels ask for), and the fraction of the oracle's gain over one impedance. What is done is kept
in OUT, so an interrupted call goes on. Seed 0 is that of the training run; the seeds are those of the worlds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from episode.documents import read_json
from episode.files import write_json
from episode.simulate import PRESETS, simulate, write_tidy

METHODS = ("mean_impedance", "em", "bbse", "episode.network", "episode.student", "oracle")


def main() -> None:
    """Run what is missing, then write all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--worlds", default="label,concept,both")
    parser.add_argument("--lines", default="24,8")
    parser.add_argument("--seeds", default="31,32,33")
    parser.add_argument("--workers", default="1")
    args = parser.parse_args()
    found = []
    for seed in map(int, args.seeds.split(",")):
        for lines in map(int, args.lines.split(",")):
            for world in args.worlds.split(","):
                found.append(_judge(args.out, world, lines, seed, args.workers))
                write_json(args.result, {"preset": "demo", "sets": found, "mean": _mean(found)})
                print(found[-1], flush=True)


def _judge(out: Path, world: str, lines: int, seed: int, workers: str) -> dict[str, Any]:
    folder = out / f"{world}-{lines}-{seed}"
    if not (folder / "world").exists():
        write_tidy(simulate(replace(PRESETS["demo"], training_lines=lines), world, seed), folder / "world")
    pairs, genome = folder / "world" / "pairs.tsv", folder / "world" / "genome.fa"
    results, figures = compared(folder, "simulated", pairs, "--genome", genome, "--workers", workers)
    return {"world": world, "lines": lines, "seed": seed, **impedances(results, figures, METHODS)}


def compared(folder: Path, protocol: str, *arguments: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run ``episode compare`` of EPIsode into folder/compared unless done; return results.json and figures.json."""
    out = folder / "compared"
    if not (out / "results.json").exists():
        command = [sys.executable, "-m", "episode.cli.main", "compare", protocol, *arguments]
        options = ["--out", out, "--methods", "episode"]
        subprocess.run(list(map(str, [*command, *options])), check=True, stdout=subprocess.DEVNULL)
    return read_json(out / "results.json"), read_json(out / "figures.json")


def impedances(results: dict[str, Any], figures: dict[str, Any], methods: Iterable[str]) -> dict[str, Any]:
    """Read pooled log-loss, the Student's part of the oracle's gain, and how many intervals hold the oracle's R_E."""
    loss = {name: results["methods"][name]["pooled"]["log_loss"]["value"] for name in methods}
    inside = [
        record["r_student_low"] <= record["r_oracle"] <= record["r_student_high"]
        for record in figures["impedance"]
        if record["r_oracle"] is not None
    ]
    return {
        "log_loss": loss,
        "gain": (loss["mean_impedance"] - loss["episode.student"]) / (loss["mean_impedance"] - loss["oracle"]),
        "covered": sum(inside),
        "judged": len(inside),
    }


def _mean(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over seeds of each world and number of lines."""
    rows = []
    for world, lines in dict.fromkeys((entry["world"], entry["lines"]) for entry in found):
        mine = [entry for entry in found if (entry["world"], entry["lines"]) == (world, lines)]
        loss = {name: sum(entry["log_loss"][name] for entry in mine) / len(mine) for name in METHODS}
        gain = loss["mean_impedance"] - loss["oracle"]
        best = min(loss[name] for name in ("mean_impedance", "em", "bbse"))
        rows.append(
            {
                "world": world,
                "lines": lines,
                "seeds": len(mine),
                "log_loss": loss,
                "gain": (loss["mean_impedance"] - loss["episode.student"]) / gain,
                "behind_best": loss["episode.student"] - best,
                "coverage": sum(entry["covered"] for entry in mine) / sum(entry["judged"] for entry in mine),
            }
        )
    return rows


if __name__ == "__main__":
    main()
