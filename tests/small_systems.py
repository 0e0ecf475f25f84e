"""Small made-up systems, stores and pairs, shared by the tests of the energy system."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from episode.checkpoint import new_system
from episode.config import Config, override
from episode.encode.bases import BaseLayout
from episode.encode.motifs import MotifBank, load_bank
from episode.encode.scanner import Scanner
from episode.encode.store import ElementStore
from episode.episodes.sampler import EnvironmentPool, Task
from episode.inference.pairs import PairRows
from episode.inference.scoring import LiveScorer
from episode.model.energy import EnergySystem
from episode.model.environment.opportunist import SHORTCUTS
from episode.train.pacing import PacingLock
from episode.train.step import StepContext

MOTIFS = 6
GATE_LEVELS = torch.tensor([[8.0, 7.0, 7.0], [5.0, 4.0, 6.0]])
ELEMENTS = 40
SMALL = (
    "backbone.width=8",
    "backbone.heads=2",
    "backbone.anchors=2",
    "environment.student=network",
    "environment.width=8",
    "environment.heads=2",
    "environment.inducing=3",
    "training.accelerator=cpu",
)


def small_config(*settings: str) -> Config:
    return override(Config(), [*SMALL, *settings])


def make_store(seed: int = 0, bases: int = 0) -> ElementStore:
    """Elements of 1 to 6 bins with scores around the thresholds of `make_system`, or of so many random bases."""
    rng = np.random.default_rng(seed)
    bins = rng.integers(1, 7, ELEMENTS).astype(np.int64)
    if bases:
        elements = [rng.integers(0, 4, count * bases - count % 3).astype(np.uint8) for count in bins]
        return ElementStore.of(BaseLayout(bases)(elements), bins, f"made-up-bases-{seed}")
    tokens = rng.normal(0, 4, (int(bins.sum()), 2, MOTIFS)).astype(np.float16)
    return ElementStore.of(tokens, bins, f"made-up-{seed}")


def scan(codes: np.ndarray, bank: MotifBank, bin: int) -> np.ndarray:
    """Tokens of one element."""
    return Scanner(bank, bin)([codes])


def all_rows(store: ElementStore) -> np.ndarray:
    """Rows of all elements, one element after another."""
    return np.concatenate([store.rows(element) for element in range(len(store))])


def filled(store: ElementStore, value: float) -> ElementStore:
    """The same elements with one number in every row."""
    return ElementStore.of(np.full_like(all_rows(store), value), store.bins, store.hash)


def reverse_complement(store: ElementStore) -> ElementStore:
    """The store of the same elements read from the other strand: bin order reversed, strands swapped."""
    parts = [store.rows(element)[::-1, ::-1] for element in range(len(store))]
    return ElementStore.of(np.concatenate(parts), store.bins, "reversed")


def make_rows(count: int, seed: int = 1, *, oriented: bool = True) -> PairRows:
    rng = np.random.default_rng(seed)
    enhancer = rng.integers(0, ELEMENTS // 2, count)
    return PairRows(
        enhancer=enhancer,
        promoter=rng.integers(ELEMENTS // 2, ELEMENTS, count),
        mirrored=rng.random(count) < 0.5,
        oriented=np.full(count, oriented),
        label=(rng.random(count) < 0.4).astype(np.int8),
        locus=enhancer.astype(np.int64),
        shortcuts=rng.normal(size=(count, len(SHORTCUTS))).astype(np.float32),
        distance=np.round(10 ** rng.uniform(3, 6, count)),
    )


def make_system(config: Config, *, environments: int = 2, seed: int = 0, noise: float = 0.2) -> EnergySystem:
    """A system away from its start: noise on every parameter, prototypes that were moved, every channel reliable."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.stem.gate:
            system = EnergySystem(config, torch.full((MOTIFS,), 2.0), environments, -0.4, GATE_LEVELS)
        elif config.stem.kind == "motif":
            system = EnergySystem(config, torch.full((MOTIFS,), 2.0), environments, -0.4)
        else:
            system = new_system(config, load_bank(config.stem), environments, -0.4)
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
        for index in range(environments):
            system.teacher.observe(index, torch.randn(config.environment.width))
        half = torch.ones(1, system.backbone.representation_size)
        system.set_encoder.observe_halves(half, half)
    return system


def make_pool(name: str, rows: np.ndarray, table: PairRows, teacher: int | None) -> EnvironmentPool:
    return EnvironmentPool(name, rows, table.locus[rows], table.label[rows], teacher)


def make_tasks(table: PairRows) -> list[Task]:
    """Tasks of all four kinds over three environments (two known to the Teacher), two of them two-way."""
    third = len(table) // 3
    rows = np.arange(len(table))
    first, second, other = (rows[i * third : (i + 1) * third] for i in range(3))
    known = [make_pool("a", first, table, 0), make_pool("b", second, table, 1)]
    unknown = make_pool("c", other, table, None)

    def halves(pool: EnvironmentPool) -> tuple[np.ndarray, np.ndarray]:
        low = pool.locus < ELEMENTS // 4
        return pool.rows[low], pool.rows[~low]

    def task(pool: EnvironmentPool, kind: str, *, two_way: bool, fraction: float = float("nan")) -> Task:
        support, query = halves(pool)
        shown = np.arange(len(support)) % 3 == 0 if kind == "train" else np.zeros(len(support), dtype=bool)
        return Task(pool, kind, support, query, shown, two_way, fraction=fraction)

    mixture = np.concatenate([first[: third // 2], second[: third // 4]])
    hidden = np.zeros(len(mixture), dtype=bool)
    nothing = np.zeros(0, dtype=np.int64)
    return [
        task(known[0], "train", two_way=True),
        task(known[1], "train", two_way=False),
        task(unknown, "pseudo_ood", two_way=True),
        task(known[0], "prior_shift", two_way=False, fraction=0.3),
        Task(known[0], "mixed", mixture, nothing, hidden, False, known[1], 2 / 3),
    ]


def make_context(config: Config, *, seed: int = 0) -> tuple[StepContext, list[Task]]:
    """A step in which every loss is at work: the lock lets pull-in and push-away act in every training task."""
    table = make_rows(90)
    willing = config.losses.model_copy(update={"pull_in_margin": -10.0, "push_away_margin": -10.0, "pacing_low": 0.0})
    pacing = PacingLock(willing, pseudo_ood_lead=-100.0)
    system = make_system(config, seed=seed)
    store = make_store(bases=0 if config.stem.kind == "motif" else config.stem.bin)
    if system.backbone.gate is not None:
        sites = np.random.default_rng(2).normal(6, 4, (int(store.bins.sum()), 2, GATE_LEVELS.shape[1]))
        store = replace(store, gate=ElementStore.of(sites.astype(np.float16), store.bins, "made-up-sites"))
    score = LiveScorer(system.backbone, store, table)
    context = StepContext(system, table, score, config, pacing, alpha=0.45, train_share=0.4)
    return context, make_tasks(table)


def pair_table(lines: int, rows: int, seed: int = 0, *, assays: int = 1, split: str = "") -> pd.DataFrame:
    """The columns that roles read of a pair table: `rows` pairs for each environment, on 3 chromosomes."""
    rng = np.random.default_rng(seed)
    parts = []
    for line in range(lines):
        for assay in range(assays):
            start = rng.integers(0, 100_000_000, rows)
            name = f"line{line}" if assays == 1 else f"line{line}:assay{assay}"
            parts.append(
                pd.DataFrame(
                    {
                        "cell_line": f"line{line}",
                        "environment": name,
                        "label": (np.arange(rows) % 3 == 0).astype(np.int8),
                        "split": split,
                        "has_coordinates": True,
                        "enhancer_chrom": [f"chr{1 + i % 3}" for i in range(rows)],
                        "enhancer_start": start,
                        "enhancer_end": start + 500,
                        "promoter_start": start + 20_000,
                        "promoter_end": start + 21_000,
                        "locus": start // 1000,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)
