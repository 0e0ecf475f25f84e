"""Time and memory as pairs and elements grow, and the peak memory at one and at ten million pairs.

Every point is a command of its own: `episode predict` on a Parquet table of so many pairs, `episode encode` on so many
elements. The genome and its elements are the same at every number of pairs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from costs.context import Context, Cost, entry
from costs.worlds import Elements, small_run, write_genome, write_pairs

PAIRS = (10**3, 10**4, 10**5, 10**6, 10**7)
ELEMENTS = (10**2, 10**3, 10**4, 10**5)
QUICK_PAIRS = (10**3, 4 * 10**3, 10**4)
QUICK_ELEMENTS = (40, 160)
LARGEST = 2
"""Sizes that the peak of memory is judged on."""
GIB = 2**30


def measure_memory(context: Context) -> dict[str, Any]:
    """Return the row peak_memory."""
    sizes = _pair_sizes(context)[-LARGEST:]
    points = [predict_cost(context, pairs) for pairs in sizes]
    torch = min(context.run([sys.executable, "-c", "import torch"]).peak_bytes for _ in range(3))
    peaks = [point["peak_bytes"] for point in points]
    growth, above = peaks[1] / peaks[0] - 1, max(peaks) - torch
    value = {
        "peak_gib": [peak / GIB for peak in peaks],
        "growth": growth,
        "above_torch_gib": above / GIB,
        "torch_gib": torch / GIB,
    }
    return {
        "peak_memory": entry(
            f"peak memory of episode predict on Parquet tables of {sizes[0]:,} and {sizes[1]:,} pairs",
            bar="within 10 %, <= 2 GB above the interpreter with torch loaded",
            value=value,
            met=abs(growth) <= 0.1 and above <= 2e9,
            n={"pairs": list(sizes)},
            raw={"points": points, "torch_bytes": torch},
        )
    }


def measure_scaling(context: Context, known: dict[str, Any]) -> dict[str, Any]:
    """Return the row scaling; points that peak_memory has measured in this run are taken from it."""
    there = {point["pairs"]: point for point in known.get("peak_memory", {}).get("raw", {}).get("points", [])}
    by_pairs = [there.get(pairs) or predict_cost(context, pairs) for pairs in _pair_sizes(context)]
    by_elements = [encode_cost(context, n) for n in (QUICK_ELEMENTS if context.quick else ELEMENTS)]
    fits = {}
    for name, points, of in (("pairs", by_pairs, "pairs"), ("elements", by_elements, "elements")):
        for what in ("seconds", "peak_bytes"):
            fits[f"{what}_by_{name}"] = fit([point[of] for point in points], [point[what] for point in points])
    return {
        "scaling": entry(
            "time and memory as pairs and elements grow",
            bar=None,
            value=fits,
            met=None,
            n={"pairs": [p["pairs"] for p in by_pairs], "elements": [p["elements"] for p in by_elements]},
            raw={"pairs": by_pairs, "elements": by_elements},
        )
    }


def fit(x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    """Fit y = c x^a by least squares of the logarithms: over all points, and over the last three.

    Small sizes are start-up; the exponent of the last three is what larger ones will meet.
    """
    found = {}
    for name, first in (("all", 0), ("last", max(0, len(x) - 3))):
        logs = [(math.log(a), math.log(b)) for a, b in zip(x[first:], y[first:], strict=True)]
        mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
        slope = sum((a - mean_x) * (b - mean_y) for a, b in logs) / sum((a - mean_x) ** 2 for a, _ in logs)
        found[name] = {"exponent": slope, "factor": math.exp(mean_y - slope * mean_x), "range": [x[first], x[-1]]}
    return found


def predict_cost(context: Context, pairs: int) -> dict[str, Any]:
    """Predict a table of so many pairs, and say what it cost."""
    each = context.size(2000, 100)
    elements = Elements(each, each)
    genome, table = context.work / f"genome_{each}.fa", context.work / "tables" / f"pairs_{pairs}.parquet"
    if not genome.exists():
        write_genome(genome, elements)
    met = write_pairs(table, elements, pairs, row_group=context.size(200_000, 2_000))
    out = context.fresh("predicted")
    command = context.limited("predict", small_run(context), table, "--genome", genome, "--out", out)
    cost = context.run([*command, "--write", "parquet"])
    table.unlink()
    context.fresh("predicted")
    return {"pairs": pairs, "elements": met, "pairs_per_second": pairs / cost.seconds, **cost.facts()}


def encode_cost(context: Context, elements: int) -> dict[str, Any]:
    """Encode so many elements, each of which stands in one pair, into an empty store; say what it cost."""
    half = Elements(elements // 2, elements - elements // 2)
    genome, table = context.work / "encoded.fa", context.work / "tables" / f"elements_{elements}.parquet"
    write_genome(genome, half)
    write_pairs(table, half, elements // 2, lines=1)
    dataset, cache = context.fresh("encoded_dataset"), context.fresh("encoded_store")
    build = context.episode("data", "build", table, "--genome", genome, "--out", dataset)
    built = context.run(build)
    cost: Cost = context.run(context.encode(dataset, "--run", small_run(context), "--cache", cache))
    stored = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    for name in ("encoded_dataset", "encoded_store", "encoded.fa"):
        context.fresh(name)
    return {
        "elements": elements,
        "bases": half.bases,
        "stored_bytes": stored,
        "dataset_seconds": built.seconds,
        **cost.facts(),
    }


def _pair_sizes(context: Context) -> tuple[int, ...]:
    return QUICK_PAIRS if context.quick else PAIRS
