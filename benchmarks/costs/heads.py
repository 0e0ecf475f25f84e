"""The two inner kernels against the matrix product of the machine: motif stem and pair head, each alone.

Peak and kernel are measured in turns, and the best of each is taken.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from costs.context import Context, entry
from costs.machine import Peak, best_seconds
from costs.worlds import LENGTHS, SEED, small_run
from episode.checkpoint import load_run
from episode.config import BackboneConfig
from episode.encode.motifs import MotifBank
from episode.encode.scanner import Scanner
from episode.encode.store import build_store
from episode.inference.element_cache import ElementCache
from episode.inference.pairs import PairRows
from episode.inference.scoring import score_rows
from episode.seeds import generator

ROUNDS = 5
BLOCK = 4096


def measure_stem(context: Context) -> dict[str, Any]:
    """Return the row motif_stem."""
    torch.set_num_threads(context.threads)
    run = load_run(small_run(context))
    bin = run.facts.config.stem.bin
    rng, peak = generator(SEED, "stem"), Peak(context.quick)
    elements = [rng.integers(4, size=length).astype(np.uint8) for length in LENGTHS * context.size(256, 8)]
    flop = stem_flop(run.bank, [len(codes) for codes in elements])
    scanner = Scanner(run.bank, bin)
    seconds, peaks = [], []
    for _ in range(context.size(ROUNDS, 1)):
        peaks.append(peak.look())
        seconds.append(best_seconds(lambda: scanner(elements), 3))
    rate = {name: value / min(seconds) / 1e9 for name, value in flop.items()}
    share, share_2 = rate["one_hot"] / peak.gflops, rate["chosen_base"] / peak.gflops
    bases = sum(map(len, elements))
    value = {
        "share_of_peak": share,
        "share_of_peak_2_a_base": share_2,
        "gflops": rate["one_hot"],
        "peak_gflops": peak.gflops,
        "bases_per_second": bases / min(seconds),
    }
    return {
        "motif_stem": entry(
            "motif stem, useful GFLOP/s over the GEMM peak of the same run",
            bar=">= 0.5, judged by 8 FLOP a base: the one-hot matrix product that it replaces",
            value=value,
            met=share >= 0.5,
            n={"bases": bases, "elements": len(elements), "motifs": len(run.bank)},
            raw={"seconds": seconds, "flop": flop, "gflops": rate, "peak": peak.facts(), "peak_looks": peaks},
        )
    }


def stem_flop(bank: MotifBank, lengths: list[int]) -> dict[str, int]:
    """Count the operations of scanning elements of some lengths, for complete sites alone, on both strands.

    `one_hot` counts a product of one-hot DNA with the matrices: 4 multiplications and 4 additions a position of a
    motif. `chosen_base` counts 2 a position, as if only the base that is there were looked at.
    """
    positions = sum(
        int(motif) * max(0, length - int(motif) + 1) for motif in bank.lengths.tolist() for length in lengths
    )
    return {"one_hot": 2 * 4 * 2 * positions, "chosen_base": 2 * 2 * positions}


def head_flop(config: BackboneConfig, bins: tuple[int, int]) -> dict[str, int]:
    """Count the multiplications and additions of the pair head for one pair, by shape; softmax and waves left out.

    Parameters
    ----------
    config : BackboneConfig
    bins : (int, int)
        Tokens of the enhancer and of the promoter.
    """
    e, p = bins
    width, tokens = config.width, e + p
    channels = config.summary + 3 * config.bilinear
    return {
        "attention": 2 * 2 * (2 * e * p * width),
        "output": 2 * tokens * width * width,
        "pooling": 2 * 2 * tokens * width * config.anchors,
        "summary": 2 * (2 * config.anchors * width) * config.summary,
        "energy": 2 * channels * config.kan_inputs + 2 * config.kan_inputs * (1 + 2 * config.kan_frequencies),
    }


def measure_head(context: Context) -> dict[str, Any]:
    """Return the row pair_head."""
    torch.set_num_threads(context.threads)
    run = load_run(small_run(context))
    backbone, stem = run.system.backbone, run.facts.config.stem
    each, pairs = context.size(500, 40), context.size(200_000, 2_000)
    rng, peak = generator(SEED, "head"), Peak(context.quick)
    length = np.repeat(LENGTHS, each)
    codes = rng.integers(4, size=length.sum()).astype(np.uint8)
    elements = pd.DataFrame({"length": length, "offset": np.cumsum(length) - length})
    store = build_store(SimpleNamespace(elements=elements, codes=codes), run.bank, stem)
    cache = ElementCache(backbone, store)
    rows = _pairs(rng, each, pairs)
    few = rows.take(np.arange(min(pairs, BLOCK)))
    score_rows(backbone, cache, rows.take(np.arange(0, pairs, 7)))
    e = cache.codes("enhancer", few.enhancer, few.mirrored)
    p = cache.codes("promoter", few.promoter, few.mirrored)
    seconds: dict[str, list[float]] = {"gathered": [], "forward": []}
    for _ in range(context.size(ROUNDS, 1)):
        peak.look()
        seconds["gathered"].append(best_seconds(lambda: score_rows(backbone, cache, rows, block=BLOCK), 1) / pairs)
        with torch.no_grad():
            seconds["forward"].append(best_seconds(lambda: backbone(e, p), 10) / len(few))
    bins = (LENGTHS[0] // stem.bin, LENGTHS[1] // stem.bin)
    flop = head_flop(run.facts.config.backbone, bins)
    rate = {name: 1 / min(found) for name, found in seconds.items()}
    gflops = {name: found * sum(flop.values()) / 1e9 for name, found in rate.items()}
    value = {
        "pairs_per_second": rate["gathered"],
        "pairs_per_second_forward": rate["forward"],
        "gflops": gflops["gathered"],
        "gflops_forward": gflops["forward"],
        "share_of_peak": gflops["gathered"] / peak.gflops,
        "share_of_peak_forward": gflops["forward"] / peak.gflops,
        "peak_gflops": peak.gflops,
    }
    return {
        "pair_head": entry(
            "pair head alone, encoder output ready, gathering it included",
            bar=">= 5,000 pairs/s, share of the GEMM peak stated",
            value=value,
            met=rate["gathered"] >= 5000,
            n={"pairs": pairs, "elements": 2 * each, "pairs_forward": len(few)},
            raw={"seconds_a_pair": seconds, "flop_a_pair": flop, "bins": bins, "block": BLOCK, "peak": peak.facts()},
        )
    }


def _pairs(rng: np.random.Generator, each: int, n: int) -> PairRows:
    """Draw pairs, by enhancer as prediction has them."""
    enhancer, promoter = np.sort(rng.integers(each, size=n)), each + rng.integers(each, size=n)
    return PairRows(
        enhancer=enhancer,
        promoter=promoter,
        mirrored=rng.random(n) < 0.5,
        oriented=np.ones(n, dtype=bool),
        label=np.full(n, -1, dtype=np.int8),
        locus=enhancer,
        shortcuts=np.zeros((n, 9), dtype=np.float32),
        distance=np.full(n, np.nan),
    )
