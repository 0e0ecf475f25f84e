"""The page of measurements, made from the results alone: no measured number in it is typed.

Knows what each key of the results holds, and describes the inputs of the rows (windows, worlds, how operations are
counted). Measures nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from costs.figures import scaling_figures
from episode.figure_style import to_png
from episode.files import atomic_file

Row = dict[str, Any]
VERDICTS = {True: "met", False: "MISSED", None: "no target"}
GIB = 2**30


def verdict(row: Row) -> str:
    """Return the word for whether a row meets its target."""
    return VERDICTS[row["met"]]


def write(results: dict[str, Row], folder: Path) -> None:
    """Write speed.md and its figures into a folder."""
    parts = ["# What it costs", _text(HEAD), *_machines(results), _summary(results)]
    for key, section in SECTIONS.items():
        if key in results:
            parts += section(results[key])
    if "scaling" in results:
        for name, figure in scaling_figures(results["scaling"]).items():
            with atomic_file(folder / f"{name}.png") as temporary:
                temporary.write_bytes(to_png(figure))
    with atomic_file(folder / "speed.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")


HEAD = """
    Made by `make benchmark-speed` from `benchmarks/results/speed.json`, which has every measurement behind these
    numbers; do not edit. Every ratio is of numbers of one run. 1 GB is 10⁹ bytes, 1 GiB is 2³⁰."""


def _text(text: str) -> str:
    """Fill a paragraph, or the item of a list."""
    indent = "  " if text.startswith("- ") else ""
    words = " ".join(text.split())
    return textwrap.fill(words, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rate(rate: float) -> str:
    return f"{rate:,.0f} pairs/s"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _seconds(found: Iterable[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in found)


def _machines(results: dict[str, Row]) -> list[str]:
    """Name the machine; for each set of rows, if they are not all of one."""
    groups: dict[str, list[str]] = {}
    for key, row in results.items():
        m = row["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
        text = (
            f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']:.0f} GiB, threads: {m['threads']}; Python "
            f"{m['python']}, {versions}{'; SMALL SIZES, which say nothing of speed' if row['quick'] else ''}"
        )
        groups.setdefault(text, []).append(key)
    if len(groups) == 1:
        return [_text(f"Measured on: {next(iter(groups))}.")]
    return [_text(f"Measured on: {text} ({', '.join(keys)}).") for text, keys in groups.items()]


def _summary(results: dict[str, Row]) -> str:
    items = []
    for key, spell in SUMMARIES.items():
        if key in results:
            row = results[key]
            word = verdict(row) if row["met"] else f"**{verdict(row)}**"
            measured = f"Target: {row['bar']}. Measured: {spell(row['value'])}."
            items.append(_text(f"- {word}: {row['what']}. {measured}"))
    return "\n".join(items)


def _ratio(value: Row) -> str:
    ours, theirs = value["pairs_per_second"], value["pairs_per_second_alone"]
    return f"{value['ratio']:.1f} x ({ours:,.0f} against {_rate(theirs)})"


SUMMARIES: dict[str, Callable[[Row], str]] = {
    "store_built_in_run": _ratio,
    "store_already_there": _ratio,
    "logit_difference": lambda v: f"{v['float32']:.1e} with float32, {v['float16']:.1e} with float16",
    "pair_head": lambda v: f"{_rate(v['pairs_per_second'])}, {_percent(v['share_of_peak'])} of the peak",
    "motif_stem": lambda v: (
        f"{v['share_of_peak']:.2f} ({v['gflops']:.0f} of {v['peak_gflops']:.0f} GFLOP/s) by 8 FLOP a base, the target; "
        f"{v['share_of_peak_2_a_base']:.2f} by 2 FLOP a base"
    ),
    "peak_memory": lambda v: (
        f"{v['peak_gib'][0]:.2f} and {v['peak_gib'][1]:.2f} GiB ({100 * v['growth']:+.1f} %), "
        f"{v['above_torch_gib']:.2f} GiB above"
    ),
    "epoch": lambda v: f"{v['minutes']:.1f} minutes, {v['peak_gb']:.2f} GB",
    "cold_start": lambda v: (
        f"{v['help_seconds_median']:.2f} s; {v['predict_seconds_median']:.1f} s "
        f"({v['predict_seconds_none_shared_median']:.1f} s where nothing is shared)"
    ),
    "kills": lambda v: ", ".join(
        f"{name} {f['same_result_nothing_left']} of {f['of']} ({f['killed_after_first_file']} after its first file)"
        for name, f in v.items()
    ),
}


def _sharing(row: Row) -> list[str]:
    raw, n = row["raw"], row["n"]
    alone, laid, distinct = raw["alone"], raw["distinct_laid_out"], raw["distinct"]
    stores = []
    for name in ("float16", "float32"):
        built, there = max(raw[name]["built"]), max(raw[name]["there"])
        ratios = (f"{built:,.0f}", f"{built / alone['rate']:.1f} x", f"{there:,.0f}", f"{there / alone['rate']:.1f} x")
        times = [f"{s['store']:.1f} + {s['prediction']:.1f}" for s in raw[name]["seconds"]]
        stores.append([name, *ratios, "; ".join(times)])
    return [
        "## Encoding each element once, or again for each pair",
        _text(f"""
            Two tables of BENGI (K562 Hi-C and GM12878 RNAPII ChIA-PET) with their real intervals: {n["pairs"]:,}
            distinct pairs of {distinct["enhancer"]:,} enhancers and {distinct["promoter"]:,} promoters in windows of
            1,024 and 4,096 bp ({laid["enhancer"]:,} and {laid["promoter"]:,} if the pair orientations of an element
            are counted separately).
            The DNA is simulated by position, with the best site of a motif every {raw["site_every"]} bp. Encoding once
            reads {raw["bases"]["ratio"]:.2f} times fewer bases than encoding for each pair, and
            {raw["bases"]["ratio_covered"]:.1f} times fewer if bases in which windows overlap are scanned once, as in
            the
            store. The model has the default configuration,
            trained for a few steps on a tiny simulated world."""),
        _text(f"""
            Both methods start from validated pairs and bases in memory and end with the logit of every pair. Neither
            includes reading tables or writing predictions. *Encode once* is `build_store` into an empty folder (or
            opening the existing
            one), then `predict_dataset` over all pairs. *Again for each pair* scans
            both elements of each pair of a batch, encodes them and runs the same pair head. Bases are in memory,
            nothing
            is written, scores stay float32, and the batch is the fastest of {", ".join(alone["seconds_by_batch"])}
            ({alone["batch"]}). It was run on {n["pairs_alone"]:,} pairs, the support sets of both environments, in
            {len(alone["rates"])} parts between the other runs, each again for {alone["turn_seconds"]:.0f} s or more
            ({", ".join(f"{rate:.0f}" for rate in alone["rates"])} pairs/s). Ratios are of the fastest run to the
            fastest part; the store is float16 by default."""),
        _grid(
            [
                "store",
                "built in the run, pairs/s",
                "",
                "existing, pairs/s",
                "",
                "store + prediction, s (built, existing, ...)",
            ],
            stores,
        ),
    ]


def _difference(row: Row) -> list[str]:
    value, raw = row["value"], row["raw"]
    return [
        _text(f"""
            Logits are compared for the {raw["pairs_compared"]:,} support pairs, the only ones that both methods score.
            They
            span {value["logit_range"]:.1f} and differ from those without reuse by at most {value["float32"]:.1e}
            with a float32 store and {value["float16"]:.1e} with a float16 store. Each method estimates the impedances
            from its own scores.""")
    ]


def _head(row: Row) -> list[str]:
    raw, value, n = row["raw"], row["value"], row["n"]
    flop = raw["flop_a_pair"]
    parts = ", ".join(f"{name} {count:,}" for name, count in flop.items())
    return [
        "## Pair head",
        _text(f"""
            Default configuration, elements of {raw["bins"][0]} and {raw["bins"][1]} bins, encoder output in memory;
            {n["pairs"]:,} pairs of {n["elements"]:,} elements, sorted by enhancer, in blocks of {raw["block"]:,}.
            With gathering the codes: {_rate(value["pairs_per_second"])}, {value["gflops"]:.1f} GFLOP/s,
            {_percent(value["share_of_peak"])} of the peak of the float32 matrix product ({value["peak_gflops"]:.0f}
            GFLOP/s). On gathered codes: {_rate(value["pairs_per_second_forward"])},
            {value["gflops_forward"]:.1f} GFLOP/s, {_percent(value["share_of_peak_forward"])}. A pair is counted as
            {sum(flop.values()):,} operations, by the shapes of the products in the formula of the head
            ({parts}), however they are computed. Softmax, sines and sums are not counted."""),
    ]


def _stem(row: Row) -> list[str]:
    raw, value, n = row["raw"], row["value"], row["n"]
    looks = ", ".join(f"{size}: {rate:.0f}" for size, rate in raw["peak"].items())
    return [
        "## Motif stem",
        _text(f"""
            {n["motifs"]} matrices over {n["elements"]:,} elements of 1,024 and 4,096 bp ({n["bases"] / 1e6:.1f} Mb),
            both strands, float16 scores: {value["bases_per_second"] / 1e6:.2f} Mb/s. Complete sites are counted, each
            motif at its own length, no padding. In the operations of a product with one-hot DNA (4 multiplications and
            4 additions a position) that is {value["gflops"]:.0f} GFLOP/s, {value["share_of_peak"]:.2f} of the peak. The
            stem need not do that product (see [stem.md](stem.md)). Counted as if only the score of the present base
            were multiplied and added (2 operations a position), which the target does not use, it is
            {raw["gflops"]["chosen_base"]:.0f} GFLOP/s, {value["share_of_peak_2_a_base"]:.2f} of the peak. The peak is
            the best of `torch.mm` in float32 on square matrices, measured alternately with the stem (GFLOP/s by size:
            {looks})."""),
    ]


def _memory(row: Row) -> list[str]:
    raw, value = row["raw"], row["value"]
    rows = [
        [
            f"{p['pairs']:,}",
            f"{p['elements']:,}",
            f"{p['seconds'] / 60:.1f}",
            f"{p['pairs_per_second']:,.0f}",
            f"{p['peak_bytes'] / GIB:.2f}",
            f"{(p['peak_bytes'] - raw['torch_bytes']) / GIB:.2f}",
        ]
        for p in raw["points"]
    ]
    return [
        "## Peak memory of prediction",
        _text(f"""
            `episode predict` on Parquet tables of the same elements in four cell lines that training did not see,
            with default configuration and windows. The store is built in the command. The peak is the largest resident
            memory of the process as the kernel counts it, pages of mapped files included. If it starts workers, it is
            at
            least the largest sum seen (twice a second). A Python that has imported torch has {value["torch_gib"]:.2f}
            GiB."""),
        _grid(["pairs", "elements", "minutes", "pairs/s", "peak, GiB", "above torch, GiB"], rows),
    ]


def _epoch(row: Row) -> list[str]:
    raw, n = row["raw"], row["n"]
    rows = [
        [
            NAMES[name],
            str(c["steps"]),
            f"{c['epochs']:.2f}",
            f"{c['seconds'] / 60:.1f}",
            f"{c['minutes']:.1f}",
            f"{c['peak_bytes_learning'] / 1e9:.2f}",
            f"{c['settling']['peak_bytes'] / 1e9:.2f}",
            f"{c['store_seconds']:.0f}",
        ]
        for name, c in raw["configurations"].items()
    ]
    return [
        "## One epoch of training",
        _text(f"""
            The simulated world `domain-kl`, seed 11: {n["cell_lines"]} training cell lines, elements of 1,000 and 4,000
            bp. Training draws tasks, not rows. An epoch is the number of steps whose labelled query pairs equal the
            pairs
            to learn from, as the command counts them (support pairs are scored too and not counted). Steps were chosen
            to reach {n["pairs_aimed_at"]:,}. Time is that of the whole command: start, steps, one
            validation, calibration, writing; the store was built before. If it was less than an epoch, its
            minutes are scaled up. A second, short training run also has settling steps, with the frozen outputs of all
            pairs in memory. The target is for the larger peak."""),
        _grid(
            [
                "settings",
                "steps",
                "epochs",
                "minutes",
                "for an epoch",
                "peak, GB",
                "peak with settling, GB",
                "building the store, s",
            ],
            rows,
        ),
        _text("The target is for the settings of the protocol `domain-kl`."),
    ]


NAMES = {"protocol": "protocol `domain-kl`", "default": "default"}


def _start(row: Row) -> list[str]:
    raw, value = row["raw"], row["value"]
    shared, none = (raw["predict"][name] for name in ("shared", "none_shared"))
    return [
        "## Starting",
        _text(f"""
            `episode --help`: median of {len(raw["help_seconds"])} {value["help_seconds_median"]:.2f} s, best
            {value["help_seconds_best"]:.2f} s. `episode predict` of {row["n"]["pairs"]:,} pairs, with no store and no
            index of the genome built before, and all files in the page cache: {shared["elements"]:,}
            elements, shared about as in BENGI's K562 Hi-C table, {_seconds(shared["seconds"])} s; {none["elements"]:,}
            elements, no two pairs with one in common, {_seconds(none["seconds"])} s. The target is for the median of
            the
            former."""),
    ]


def _kills(row: Row) -> list[str]:
    raw, value = row["raw"], row["value"]
    rows = []
    for name, found in raw.items():
        trials = found["trials"]
        left = sorted(len(trial["left"]) for trial in trials if trial["killed"]) or [0]
        rows.append(
            [
                name,
                f"{found['uninterrupted_seconds']:.1f}",
                f"{value[name]['killed']} of {len(trials)}",
                str(value[name]["killed_after_first_file"]),
                f"{left[0]} to {left[-1]}",
                f"{sum(trial['same'] for trial in trials)} of {len(trials)}",
                f"{sum(trial['clean'] for trial in trials)} of {len(trials)}",
            ]
        )
    head = [
        "command",
        "uninterrupted, s",
        "killed",
        "after its first file",
        "files it left",
        "same result",
    ]
    return [
        "## Killed and started again",
        _text("""
            Each command got SIGKILL at a time drawn uniformly from its uninterrupted run time, starting and importing
            included. It was then run again, whatever the kill had left: `episode encode` unchanged, the others with
            `--resume`. Times were drawn until enough trials were killed; those that had ended before count as
            tries only. Files and folders were compared with those of the uninterrupted command, name for name and byte
            for byte. (Of a store, the rows of every element and the checksums of each segment were compared: which
            rows a
            segment has depends on the time of the kill.) Remaining processes were searched for. One thread each, as
            many
            trials in parallel as the benchmark has threads."""),
        _grid([*head, "nothing else left"], rows),
    ]


def _scaling(row: Row) -> list[str]:
    fits, raw = row["value"], row["raw"]
    exponents = [
        [
            FITS[name],
            f"{f['last']['exponent']:.2f}",
            " to ".join(f"{end:,}" for end in f["last"]["range"]),
            f"{f['all']['exponent']:.2f}",
            " to ".join(f"{end:,}" for end in f["all"]["range"]),
        ]
        for name, f in fits.items()
    ]
    pairs = [
        [f"{p['pairs']:,}", f"{p['elements']:,}", f"{p['seconds']:.1f}", f"{p['peak_bytes'] / GIB:.2f}"]
        for p in raw["pairs"]
    ]
    elements = [
        [
            f"{p['elements']:,}",
            f"{p['bases'] / 1e6:.1f}",
            f"{p['seconds']:.1f}",
            f"{p['peak_bytes'] / GIB:.2f}",
            f"{p['stored_bytes'] / 1e9:.2f}",
        ]
        for p in raw["elements"]
    ]
    return [
        "## As work grows",
        "![time and memory by pairs](speed_pairs.png)",
        "![time and memory by elements](speed_elements.png)",
        _text("""
            Each point is one command, start-up included: `episode predict` on a Parquet table, the store built in the
            command, and `episode encode` of distinct elements, half of them of 1,024 and half of 4,096 bp. Exponents a
            of y = c xᵃ are by least squares of the logarithms. Start-up lowers those over the whole range."""),
        _grid(["", "exponent, last three", "from", "exponent, all", "from"], exponents),
        _grid(["pairs", "elements", "seconds", "peak, GiB"], pairs),
        _grid(["elements", "Mb", "seconds", "peak, GiB", "store, GB"], elements),
    ]


FITS = {
    "seconds_by_pairs": "time by pairs",
    "peak_bytes_by_pairs": "memory by pairs",
    "seconds_by_elements": "time by elements",
    "peak_bytes_by_elements": "memory by elements",
}
SECTIONS: dict[str, Callable[[Row], list[str]]] = {
    "store_built_in_run": _sharing,
    "logit_difference": _difference,
    "pair_head": _head,
    "motif_stem": _stem,
    "peak_memory": _memory,
    "epoch": _epoch,
    "cold_start": _start,
    "kills": _kills,
    "scaling": _scaling,
}
"""In the order of the page."""
