"""Runs, elements and a hand-made Backbone, shared by the tests of explanations."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from episode.checkpoint import Run, new_system
from episode.data.dataset import Dataset
from episode.dna import reverse_complement
from episode.encode.motifs import MotifBank, load_bank
from episode.encode.store import ElementStore, build_store
from episode.explain.mutations import ElementScores
from episode.model.backbone import Backbone, ElementCodes, PairOutput
from tiny_world import config, dataset, lively_run

__all__ = [
    "Handmade",
    "Made",
    "gated_run",
    "handmade",
    "made",
    "noisy_run",
    "random_bank",
    "reversed_dataset",
    "with_run",
]


def random_bank(seed: int, lengths: tuple[int, ...] = (6, 9, 14, 21)) -> MotifBank:
    """Sharp random motifs."""
    rng = np.random.default_rng(seed)
    shares = [rng.dirichlet(np.full(4, 0.2), length) for length in lengths]
    names = tuple(f"M{i}" for i in range(len(lengths)))
    return MotifBank(names, names, tuple(part / part.sum(axis=1, keepdims=True) for part in shares))


@functools.cache
def gated_run() -> Run:
    """A run with a boundary gate whose weights are noise."""
    return noisy_run("stem.gate=CTCF", "stem.gate_bin=64")


@functools.cache
def noisy_run(*changed: str) -> Run:
    """A run with some settings changed, and noise for weights."""
    run, settings = lively_run(), config(*changed)
    bank = load_bank(settings.stem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        system = new_system(settings, bank, len(run.facts.environments), 0.0)
        for parameter in system.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    system.eval()
    system.requires_grad_(False)
    return Run(run.facts.changed(config=settings), bank, system)


def with_run(run: Run, content: Dataset | None = None) -> tuple[Run, Dataset, ElementStore]:
    """A run, the tiny dataset or another, and its store."""
    content = dataset() if content is None else content
    return run, content, build_store(content, run.bank, run.facts.config.stem)


def reversed_dataset(content: Dataset) -> Dataset:
    """The same elements read from the other strand, every orientation reversed."""
    codes = np.concatenate([reverse_complement(content.sequence(i)) for i in range(len(content.elements))])
    return replace(content, codes=codes, pairs=content.pairs.assign(mirrored=~content.pairs["mirrored"]))


class Handmade(nn.Module):
    """U = a . (best enhancer scores) + b . (best promoter scores) + c (enhancer motif 0) (promoter motif 1)."""

    def __init__(self, a: list[float], b: list[float], c: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))
        self.c = c
        self.requires_grad_(False)

    def encode(
        self, kind: str, scores: Tensor, mask: Tensor, sites: None = None, *, both: bool = False
    ) -> ElementCodes:
        best = scores.masked_fill(~mask[:, :, None, None], -torch.inf).amax((1, 2)).clamp(min=0)
        nothing: Any = torch.zeros(len(best), 0)
        fields = {field.name: nothing for field in dataclasses.fields(ElementCodes)}
        return ElementCodes(**fields | {"mask": mask, "presence": best})

    def forward(self, enhancers: ElementCodes, promoters: ElementCodes, distance: Tensor | None = None) -> PairOutput:
        one, other = enhancers.presence, promoters.presence
        potential = one @ self.a + other @ self.b + self.c * one[:, 0] * other[:, 1]
        return PairOutput(potential, potential[:, None])


def handmade(a: list[float], b: list[float], c: float) -> Backbone:
    """A `Handmade` for what asks for a Backbone and calls no more than it has."""
    return cast(Backbone, Handmade(a, b, c))


@dataclass(frozen=True)
class Made:
    """Two elements with known sites: the best site of motif 0 at `at` in the enhancer, of motif 1 in the promoter."""

    run: Run
    content: Dataset
    store: ElementStore
    scores: ElementScores
    at: int


def made(seed: int = 0) -> Made:
    """An enhancer of 300 and a promoter of 500 bases, background of A, one perfect site each, forward."""
    bank = random_bank(seed)
    at = 120
    parts = []
    for motif, length in ((0, 300), (1, 500)):
        codes = np.random.default_rng(seed + 7 + motif).integers(0, 4, length).astype(np.uint8)
        site = bank.log_odds(motif).argmax(axis=1).astype(np.uint8)
        codes[at : at + len(site)] = site
        parts.append(codes)
    elements = pd.DataFrame(
        {
            "kind": ["enhancer", "promoter"],
            "name": ["e", "p"],
            "length": [300, 500],
            "offset": [0, 300],
        }
    )
    content = replace(dataset(), elements=elements, codes=np.concatenate(parts))
    facts = lively_run().facts.changed(config=config("stem.bin=50"))
    run = replace(lively_run(), bank=bank, facts=facts)
    store = build_store(content, bank, facts.config.stem)
    return Made(run, content, store, ElementScores(run, content, store), at)
