"""Starting: what it costs to ask for help, and to predict a thousand pairs with nothing built before.

Files are in the page cache of the operating system, and Python has compiled its modules; processes, stores and indexes
are new every time. The median of several is judged; the best stands beside it, for anything else that runs only adds.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

from costs.context import Context, entry
from costs.worlds import Elements, small_run, write_genome, write_pairs

LAYOUTS = {"shared": Elements(8, 250), "none_shared": Elements(1000, 1000)}
"""A thousand neighbouring rows of BENGI's K562 Hi-C table hold 8 enhancers and 246 promoters; and the other extreme."""
PAIRS = 1000


def measure(context: Context) -> dict[str, Any]:
    """Return the row cold_start."""
    script = shutil.which("episode", path=str(Path(sys.executable).parent))
    help_command = [script, "--help"] if script else context.episode("--help")
    helped = [context.run(help_command).seconds for _ in range(context.size(20, 3))]
    predicted: dict[str, dict[str, Any]] = {}
    for name, elements in LAYOUTS.items():
        genome, table = context.work / f"start_{name}.fa", context.work / "tables" / f"start_{name}.parquet"
        write_genome(genome, elements)
        met = write_pairs(table, elements, PAIRS, lines=1)
        words = ("predict", small_run(context), table, "--genome", genome, "--out")
        costs = []
        for _ in range(context.size(5, 1)):
            context.fresh("started_cache")
            command = context.limited(*words, context.fresh("started"))
            costs.append(context.run(command, cache="started_cache"))
        predicted[name] = {"elements": met, "bases": elements.bases, "seconds": [cost.seconds for cost in costs]}
    middle = {name: median(found["seconds"]) for name, found in predicted.items()}
    value = {
        "help_seconds_median": median(helped),
        "help_seconds_best": min(helped),
        "predict_seconds_median": middle["shared"],
        "predict_seconds_best": min(predicted["shared"]["seconds"]),
        "predict_seconds_none_shared_median": middle["none_shared"],
    }
    shared = LAYOUTS["shared"]
    return {
        "cold_start": entry(
            f"episode --help; episode predict on {PAIRS:,} pairs from a cold start; medians",
            bar=f"<= 0.3 s; <= 6 s where {shared.enhancers} enhancers and {shared.promoters} promoters are shared",
            value=value,
            met=value["help_seconds_median"] <= 0.3 and middle["shared"] <= 6,
            n={"pairs": PAIRS, "times_help": len(helped), "times_predict": context.size(5, 1)},
            raw={"help_seconds": helped, "predict": predicted},
        )
    }
