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
    compared = folder / "compared"
    if not (compared / "results.json").exists():
        command = [sys.executable, "-m", "episode.cli.main", "compare", "simulated", folder / "world" / "pairs.tsv"]
        options = ["--genome", folder / "world" / "genome.fa", "--out", compared, "--methods", "episode"]
        subprocess.run([*map(str, [*command, *options]), "--workers", workers], check=True, stdout=subprocess.DEVNULL)
    results, figures = read_json(compared / "results.json"), read_json(compared / "figures.json")
    loss = {name: results["methods"][name]["pooled"]["log_loss"]["value"] for name in METHODS}
    gain = loss["mean_impedance"] - loss["oracle"]
    inside = [
        record["r_student_low"] <= record["r_oracle"] <= record["r_student_high"]
        for record in figures["impedance"]
        if record["r_oracle"] is not None
    ]
    return {
        "world": world,
        "lines": lines,
        "seed": seed,
        "log_loss": loss,
        "gain": (loss["mean_impedance"] - loss["episode.student"]) / gain,
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
