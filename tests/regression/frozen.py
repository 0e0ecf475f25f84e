"""A sample of version 0.1.0, kept: a small world, its dataset, a run trained on it, and what that version made of them.

    python tests/regression/frozen.py --source SRC_OF_0_1_0 --out tests/regression/v0_1_0

wrote the sample once; `test_version_0_1_0.py` gives `STEPS` again to the code of today.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from safetensors.numpy import load_file, save_file

from record import Recorder
from steps import Step

__all__ = ["SAMPLE", "STEPS", "main"]

SAMPLE = Path(__file__).resolve().parent / "v0_1_0"

CELL_LINES = ("train01", "train02", "train03", "train04", "unseen01", "unseen02")
PLACES = {"sim1": 26_000, "sim4": 22_000, "sim5": 44_000}
"""Chromosomes of the simulated world that are kept, and how much of them."""
SETTINGS = (
    "stem.bin=200",
    "stem.min_information=20",
    "backbone.width=8",
    "backbone.heads=2",
    "backbone.bilinear=8",
    "backbone.summary=4",
    "environment.width=8",
    "environment.inducing=4",
    "episodes.query=24",
    "episodes.support_max=64",
    "training.steps=6",
    "training.settle_steps=6",
    "training.validate_every=3",
    "training.warmup=0",
    "training.environment_rate=0.03",
)
GENOME = "--genome genome.fa.gz"

MAKE = (
    Step("make-dataset", f"data build pairs.tsv {GENOME} --enhancer-window 0 --promoter-window 0"),
    Step("make-run", f"train dataset --cache cache {' '.join(f'--set {setting}' for setting in SETTINGS)}"),
)
"""What made the dataset and the run."""

SPARED = {"build": ["out"], "evaluate": ["training.jsonl"]}
"""Outputs that are not kept: they are files of the sample again."""

STEPS = (
    Step("build", f"data build pairs.tsv {GENOME} --enhancer-window 0 --promoter-window 0"),
    Step("encode", "encode dataset --run run --cache cache --json", bare=True),
    Step("predict", f"predict run unseen.tsv {GENOME}"),
    Step("predict-few", f"predict run unseen.tsv {GENOME} --support-labels few.tsv --batch-size 50 --write tsv"),
    Step("predict-known", f"predict run known.tsv {GENOME} --cell-line train01 --write tsv"),
    Step("predict-stream", f"predict run blocks.parquet {GENOME} --write parquet,bedpe"),
    Step("evaluate", "evaluate run dataset --split test --cache cache"),
    Step("explain", "explain run dataset --split test --pairs 2 --figures 0 --cache cache"),
)
"""What is done with them; paths are relative to the sample, a step NAME writes to NAME/out."""


def _cut_world(world: Path, folder: Path) -> None:
    """Keep some cell lines and the beginning of some chromosomes of a simulated world, and tables cut out of it."""
    table = pd.read_csv(world / "pairs.tsv", sep="\t", dtype=str)
    room = table["enhancer_chrom"].map(PLACES).fillna(0)
    inside = table["cell_line"].isin(CELL_LINES)
    for side in ("enhancer", "promoter"):
        inside &= table[f"{side}_end"].astype(int) < room
    table = table[inside].reset_index(drop=True)
    plain = folder / "genome.fa"
    with pysam.FastaFile(str(world / "genome.fa")) as genome, plain.open("w") as stream:
        for name, size in PLACES.items():
            text = genome.fetch(name, 0, size)
            stream.write(f">{name}\n" + "".join(text[i : i + 80] + "\n" for i in range(0, size, 80)))
    pysam.tabix_compress(str(plain), str(folder / "genome.fa.gz"))
    plain.unlink()

    table.to_csv(folder / "pairs.tsv", sep="\t", index=False)
    unseen = table[table["cell_line"].str.startswith("unseen")]
    blind = unseen.drop(columns=["label", "split"])
    blind.to_csv(folder / "unseen.tsv", sep="\t", index=False)
    unseen[unseen["cell_line"] == "unseen01"].head(24).to_csv(folder / "few.tsv", sep="\t", index=False)
    known = table[table["cell_line"].isin(["train01", "unseen02"])].drop(columns=["label", "split"])
    known.groupby("cell_line").head(40).to_csv(folder / "known.tsv", sep="\t", index=False)
    again = pd.concat([blind, blind.head(3)], ignore_index=True)
    again.to_parquet(folder / "blocks.parquet", row_group_size=50)


def _stir(path: Path) -> None:
    """Put noise on the weights: environments and pairs then differ more than so few steps achieve."""
    rng = np.random.default_rng(5)
    weights = load_file(path)
    for name, tensor in sorted(weights.items()):
        if tensor.dtype == np.float32 and not name.endswith((".variance", ".square", ".product")):
            weights[name] = np.asarray(tensor + 0.05 * rng.standard_normal(tensor.shape), dtype=np.float32)
    save_file(weights, path)


def _run(recorder: Recorder, step: Step) -> None:
    if recorder.run(step):
        raise SystemExit((recorder.root / step.name / "stderr.txt").read_text())


def main() -> int:
    """Write the sample; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter (default: this one)")
    parser.add_argument("--source", type=Path, required=True, help="folder that holds the package")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="new folder to write")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        recorder = Recorder(args.python.absolute(), args.source.resolve(), root, root)
        recorder.check()
        _run(recorder, Step("world", "simulate --preset tiny --seed 4"))
        _cut_world(root / "world" / "out", args.out)
        shutil.copytree(args.out, root, dirs_exist_ok=True)
        for step in MAKE:
            _run(recorder, step)
            shutil.copytree(root / step.name / "out", root / step.name.removeprefix("make-"))
        _stir(root / "run" / "model.safetensors")
        for folder in ("dataset", "run"):
            shutil.copytree(root / folder, args.out / folder)
        for step in STEPS:
            _run(recorder, step)
            left_out = shutil.ignore_patterns("step.json", *SPARED.get(step.name, []))
            shutil.copytree(root / step.name, args.out / "golden" / step.name, ignore=left_out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
