"""Prediction on BENGI's own sharing pattern: every element encoded once, against the same model that shares nothing.

Two tables (K562 Hi-C and GM12878 RNAPII ChIA-PET) with their real intervals; the DNA is simulated by position, for most
of the genome is not at hand. Both roads start from the validated pairs and the bases of their elements in memory and
end at the logit of every pair; reading tables and writing predictions is on neither side.

- Encode once: `build_store` into an empty folder (or opening what is there), then
  `predict_dataset`: support sets, impedances with their intervals, all pairs.
- Share nothing: for a batch of pairs, scan both elements of each, encode them, and run the pair head; then one
  impedance for each environment. Bases lie ready, batches are as large as is fastest here, and nothing is written. Its
  pairs are the support sets of both environments, which a seeded hash draws from all their pairs.
"""

from __future__ import annotations

import gzip
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from costs.context import Context, data_folder, entry
from costs.worlds import SEED, SITE, simulated_genome, small_run
from episode.checkpoint import Run, load_run
from episode.config import WindowConfig
from episode.data.build import build_dataset
from episode.data.dataset import Dataset
from episode.encode.motifs import MotifBank
from episode.encode.scanner import Scanner
from episode.encode.store import build_store
from episode.inference.orientation import mirror
from episode.inference.pairs import PairRows, pair_rows
from episode.inference.support import student_impedance
from episode.inference.support_sampling import content_ranks, draw_support
from episode.model.backbone import PairOutput
from episode.predict.pairs import predict_dataset

TABLES = ("K562.HiC-Benchmark.v3.tsv.gz", "GM12878.RNAPII-ChIAPET-Benchmark.v3.tsv.gz")
BATCHES = (16, 64, 256)
PRECISIONS = ("float32", "float16")
REPEATS = 2
TURN = 10.0
"""Seconds that the road which shares nothing goes on in each of its turns. The best of many short turns would be a
moment at which the machine was fast, and the other road, whose turns take longer, would be held against that."""
MARGIN = 10_000
"""Bases of a chromosome past its last element."""


def measure(context: Context) -> dict[str, Any]:
    """Return the rows store_built_in_run, store_already_there and logit_difference."""
    torch.set_num_threads(context.threads)
    run = load_run(small_run(context))
    dataset = bengi(_tables(context), run.bank)
    alone = Alone(run, dataset)
    tried = alone.choose_batch()
    pieces: list[PairOutput] = []
    seconds: list[float] = []
    cuts = np.array_split(np.arange(len(alone.rows)), 1 + REPEATS * len(PRECISIONS))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in PRECISIONS}
    logits = {}
    turn = 0.0 if context.quick else TURN

    def go_on() -> None:
        cut = cuts[len(pieces)]
        start = time.perf_counter()
        pieces.append(alone.score(cut))
        times = 1
        while time.perf_counter() - start < turn:
            alone.score(cut)
            times += 1
        seconds.append((time.perf_counter() - start) / times)

    for _ in range(REPEATS):
        for precision in PRECISIONS:
            go_on()
            times, logits[precision] = _once(context, run, dataset, precision)
            runs[precision] += times
    go_on()
    reference = alone.logits(pieces)
    rates = [len(cut) / s for cut, s in zip(cuts, seconds, strict=True)]
    n = {"pairs": len(dataset.pairs), "pairs_alone": len(alone.rows)}
    raw: dict[str, Any] = _shape(dataset)
    raw["alone"] = {"batch": alone.batch, "seconds_by_batch": tried, "seconds": seconds, "rates": rates}
    raw["alone"] |= {"rate": max(rates), "turn_seconds": turn}
    for name, times in runs.items():
        rate = [len(dataset.pairs) / (found["store"] + found["prediction"]) for found in times]
        raw[name] = {"seconds": times, "built": rate[::2], "there": rate[1::2]}
    difference = {name: float(np.abs(logits[name][alone.index] - reference).max()) for name in PRECISIONS}
    spread = float(reference.max() - reference.min())
    return {
        "store_built_in_run": _row("store built in the run", "built", 8.0, raw, n),
        "store_already_there": _row("store already there", "there", 30.0, raw, n),
        "logit_difference": entry(
            f"largest difference between the two methods in the logit of any of the {len(alone.rows):,} support pairs "
            f"(of {len(dataset.pairs):,} pairs)",
            bar="<= 1e-4 with a float32 store",
            value=difference | {"logit_range": spread},
            met=difference["float32"] <= 1e-4,
            n={"pairs_compared": len(alone.rows), "pairs": len(dataset.pairs)},
            raw={"pairs_compared": len(alone.rows)},
        ),
    }


def _row(what: str, key: str, bar: float, raw: dict[str, Any], n: dict[str, int]) -> dict[str, Any]:
    best, alone = {name: max(raw[name][key]) for name in PRECISIONS}, raw["alone"]["rate"]
    return entry(
        f"prediction on BENGI's sharing, {what}, over re-encoding for each pair",
        bar=f">= {bar:g} x",
        value={
            "ratio": best["float16"] / alone,
            "ratio_float32": best["float32"] / alone,
            "pairs_per_second": best["float16"],
            "pairs_per_second_alone": alone,
        },
        met=best["float16"] / alone >= bar,
        n=n,
        raw=raw,
    )


def _tables(context: Context) -> list[Path]:
    """Return the two tables; cut short where small sizes are asked for."""
    folder = data_folder()
    if folder is None:
        raise RuntimeError("needs the real pair tables: set EPISODE_DATA")
    paths = [folder / "bengi" / name for name in TABLES]
    if context.quick:
        cut = [context.fresh(name.removesuffix(".gz")) for name in TABLES]
        for path, short in zip(paths, cut, strict=True):
            with gzip.open(path, "rt") as lines:
                short.write_text("".join(itertools.islice(lines, 150)))
        return cut
    return paths


def bengi(paths: Sequence[Path], bank: MotifBank) -> Dataset:
    """Read pair tables with real intervals onto simulated DNA, in the default windows."""
    longest: dict[str, int] = {}
    for path in paths:
        table = pd.read_csv(path, sep="\t", header=None, usecols=[2, 4, 8], names=list(range(10)))
        for chrom, end in table.groupby(2)[[4, 8]].max().max(axis=1).items():
            longest[str(chrom)] = max(longest.get(str(chrom), 0), int(end) + MARGIN)
    return build_dataset(list(paths), simulated_genome(longest, bank), WindowConfig())


def _once(context: Context, run: Run, dataset: Dataset, precision: str) -> tuple[list[dict[str, float]], np.ndarray]:
    """Predict all pairs twice: with the store built before, and with it there."""
    stem = run.facts.config.stem.changed(precision=precision)
    cache = context.fresh("bengi_store")
    times: list[dict[str, float]] = []
    logit = np.zeros(0)
    for _ in range(2):
        start = time.perf_counter()
        store = build_store(dataset, run.bank, stem, cache)
        opened = time.perf_counter()
        predictions = predict_dataset(run, dataset, store, seed=SEED)
        times.append({"store": opened - start, "prediction": time.perf_counter() - opened})
        logit = predictions.pairs["logit"].to_numpy()
        del store, predictions
    context.fresh("bengi_store")
    return times, logit


class Alone:
    """Prediction that shares nothing: both elements of every pair scanned and encoded for that pair alone.

    Parameters
    ----------
    run : Run
    dataset : Dataset
        All its elements of a kind have one length.
    """

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self.run, self.dataset = run, dataset
        self.scanner = Scanner(run.bank, run.facts.config.stem.bin, dtype="float32")
        self.batch = BATCHES[0]
        rows, environment = pair_rows(dataset, run.facts.shortcuts), dataset.pairs["environment"].to_numpy()
        rank, size = content_ranks(SEED, dataset.digests, rows), run.facts.config.episodes.support_max
        chosen = []
        for name in dataset.environments:
            mine = np.flatnonzero(environment == name)
            chosen.append(mine[draw_support(rank[mine], rows.take(mine), size)])
        self.sizes = [len(part) for part in chosen]
        self.index = np.concatenate(chosen)
        self.rows: PairRows = rows.take(self.index)

    def choose_batch(self) -> dict[str, float]:
        """Find the fastest size of a batch on the first pairs."""
        tried = np.arange(min(512, len(self.rows)))
        found = {}
        for batch in BATCHES:
            self.batch = batch
            self.score(tried[:batch])
            start = time.perf_counter()
            self.score(tried)
            found[batch] = time.perf_counter() - start
        self.batch = min(found, key=lambda batch: found[batch])
        return {str(batch): seconds for batch, seconds in found.items()}

    @torch.no_grad()
    def score(self, index: np.ndarray) -> PairOutput:
        """Score some of the pairs, batch by batch."""
        outputs = [self._score(self.rows.take(part)) for part in np.array_split(index, -(-len(index) // self.batch))]
        return _join(outputs)

    def _score(self, rows: PairRows) -> PairOutput:
        backbone = self.run.system.backbone
        reverse = torch.from_numpy(rows.mirrored)
        codes = []
        for kind, elements in (("enhancer", rows.enhancer), ("promoter", rows.promoter)):
            tokens = torch.from_numpy(self.scanner([self.dataset.sequence(int(i)) for i in elements]))
            tokens = tokens.view(len(elements), -1, *tokens.shape[1:]).float()
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
            codes.append(backbone.encode(kind, mirror(tokens, mask, reverse), mask))
        output: PairOutput = backbone(*codes)
        return output

    def logits(self, pieces: list[PairOutput]) -> np.ndarray:
        """Return the logit of every pair: one impedance for each environment, from its own pairs."""
        system, output = self.run.system, _join(pieces)
        found = []
        cuts = np.split(np.arange(len(self.rows)), np.cumsum(self.sizes)[:-1])
        for cut in map(torch.from_numpy, cuts):
            part = PairOutput(output.potential[cut], output.representation[cut])
            impedance = system.pair_impedance(student_impedance(system, part), system.exposure(part.representation))
            potential = part.potential + system.temperature.offset
            found.append(((potential - impedance) / system.temperature()).double().numpy())
        return np.concatenate(found)


def _join(outputs: list[PairOutput]) -> PairOutput:
    return PairOutput(
        torch.cat([output.potential for output in outputs]), torch.cat([output.representation for output in outputs])
    )


def _shape(dataset: Dataset) -> dict[str, Any]:
    """Count what is shared."""
    pairs, elements = dataset.pairs, dataset.elements
    length = elements["length"].to_numpy()
    counts = {
        side: [int(pairs[f"{side}_id"].nunique()), len(np.unique(pairs[f"{side}_id"] * 2 + pairs["mirrored"]))]
        for side in ("enhancer", "promoter")
    }
    used = np.unique(np.concatenate([pairs["enhancer_id"], pairs["promoter_id"]]))
    by_pair = int(length[pairs["enhancer_id"]].sum() + length[pairs["promoter_id"]].sum())
    once = int(length[used].sum())
    covered = 0
    for _, places in elements.iloc[used].sort_values("start").groupby("chrom"):
        end = places["end"].cummax().shift(fill_value=0)
        covered += int((places["end"] - np.maximum(places["start"], end)).clip(lower=0).sum())
    return {
        "distinct": {side: first for side, (first, _) in counts.items()},
        "distinct_laid_out": {side: second for side, (_, second) in counts.items()},
        "rows_merged": int(dataset.manifest.counts.merged_duplicates),
        "bases": {
            "by_pair": by_pair,
            "once": once,
            "covered": covered,
            "ratio": by_pair / once,
            "ratio_covered": by_pair / covered,
        },
        "site_every": SITE,
    }
