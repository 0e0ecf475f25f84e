"""Bounds on what one input may claim of memory and time, all in one place; see `docs/reliability.md`.

Numbers only. Whoever reads an input checks it and says what was needed.
"""

from __future__ import annotations

__all__ = [
    "ACCUMULATE",
    "BATCH_PAIRS",
    "BIN_BASES",
    "CHANNELS",
    "COLUMNS",
    "DEVICES",
    "DRAWS",
    "ELEMENT_BASES",
    "FILE_BYTES",
    "FREQUENCIES",
    "GROUPS",
    "GZIP_RATIO",
    "INTEGER_DIGITS",
    "JSON_BYTES",
    "NAME_LENGTH",
    "NODES",
    "POSITION",
    "PROCESSES_OF_A_CORE",
    "RATE",
    "SEED",
    "SEEDS",
    "SPECTRUM",
    "STEPS",
    "STEP_BYTES",
    "TABLE_BYTES",
    "TASKS",
    "TASK_PAIRS",
    "UNCHECKED_BYTES",
    "WEIGHTS",
    "WORLD_BASES",
    "WORLD_COUNT",
    "WORLD_PAIRS",
]

TABLE_BYTES = 8 << 30
"""Bytes of a text table, unpacked."""
GZIP_RATIO = 200
"""Bytes to which a byte of a gzip file may unpack, past `UNCHECKED_BYTES`; tables have 5 to 50."""
UNCHECKED_BYTES = 64 << 20
"""Unpacked bytes below which `GZIP_RATIO` is not looked at."""
COLUMNS = 1000
"""Columns of a table."""
NAME_LENGTH = 1000
"""Characters of the name of a cell line, an assay, an element or a column."""
POSITION = 1 << 40
"""Largest start or end of an interval; the longest chromosomes known have some 10^11 bases."""
ELEMENT_BASES = 1_000_000
"""Bases of one element or window."""
FILE_BYTES = 1 << 38
"""Bytes of any file that is read whole."""
JSON_BYTES = 1 << 30
"""Bytes of a JSON or TOML file."""
INTEGER_DIGITS = 100
"""Digits of a whole number in a JSON file; more would not fit into a float."""

SEED = (1 << 63) - 1
"""Size of a seed, positive or negative."""
BATCH_PAIRS = 1_000_000
"""Pairs that prediction scores at a time."""
DEVICES = 1024
"""Processes of one training run on one machine."""
PROCESSES_OF_A_CORE = 4
"""The same, of those that are started here, for each core that may be used."""
NODES = 10_000
"""Machines of one training run."""
ACCUMULATE = 10_000
"""Parts in which a step of training is scored."""
BIN_BASES = 10_000
"""Base pairs of one token."""
CHANNELS = 4096
"""Channels, heads, anchors, filters or prototypes of one layer of a model."""
FREQUENCIES = 256
"""Fourier terms of one univariate function."""
GROUPS = 64
"""Groups of training cell lines, each left out by members of its own."""
SEEDS = 64
"""Members that leave out the same group."""
SPECTRUM = 64
"""Impedances of one environment."""
STEPS = 100_000_000
"""Steps of one stage of training."""
TASKS = 1024
"""Tasks of one step of training."""
TASK_PAIRS = 1_000_000
"""Pairs of the support or query set of one task."""
RATE = 1000.0
"""A learning rate."""
WEIGHTS = 1e6
"""Weight of a loss, and what is measured in nats, bits or units of temperature."""
STEP_BYTES = 1 << 40
"""Bytes that a model and a step of its training need at the very minimum, by an estimate."""
DRAWS = 100_000
"""Bootstrap draws."""

WORLD_COUNT = 100_000
"""Cell lines, chromosomes, loci, motifs or rules of a simulated world; elements of a locus."""
WORLD_BASES = 1 << 33
"""Bases of all elements of a simulated world."""
WORLD_PAIRS = 1 << 28
"""Pairs of a simulated world over all cell lines."""
