"""Write a simulated world as the files a user would bring, its truth beside them.

This module does NOT know how the world was drawn.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from episode.data.pairs import SIDES
from episode.files import atomic_folder, write_json
from episode.simulate.sequences import Genome, draw_genome
from episode.simulate.world import World

__all__ = ["write_domain_kl", "write_tidy"]

WRAP = 80


def write_tidy(world: World, path: Path) -> None:
    """Write ``pairs.tsv`` (tidy, with a split column), ``genome.fa`` and ``truth/``.

    Raises
    ------
    EpisodeError
        If `path` exists and is not an empty folder.
    """
    genome = draw_genome(world)
    elements = world.universe.elements
    with atomic_folder(path) as folder:
        columns: dict[str, Any] = {"cell_line": world.pairs["cell_line"], "label": world.pairs["label"]}
        for kind in SIDES:
            chosen = elements.iloc[world.pairs[kind].to_numpy()]
            for name in ("chrom", "start", "end"):
                columns[f"{kind}_{name}"] = chosen[name].to_numpy()
        columns["split"] = world.pairs["split"]
        pd.DataFrame(columns).to_csv(folder / "pairs.tsv", sep="\t", index=False, lineterminator="\n")
        with (folder / "genome.fa").open("w", encoding="utf-8", newline="\n") as stream:
            for chrom, codes in genome.codes.items():
                _write_fasta(stream, chrom, genome.text(chrom, 0, len(codes)))
        _write_truth(world, genome, folder / "truth")


def write_domain_kl(world: World, path: Path) -> None:
    """Write ``{train,val}/ALL`` and ``test/<cell line>`` in the domain-kl format, and ``truth/``.

    Every folder holds ``pairs_hg19.csv``, ``e_seq.csv`` and ``p_seq.csv``. The name of the pair table is that
    of the format; the chromosomes are the world's own.

    Raises
    ------
    EpisodeError
        If `path` exists and is not an empty folder.
    """
    genome = draw_genome(world)
    names = world.universe.elements["name"].to_numpy()
    with atomic_folder(path) as folder:
        for split, part in world.pairs.groupby("split", sort=False):
            groups = part.groupby("cell_line", sort=False) if split == "test" else [("ALL", part)]
            for name, pairs in groups:
                target = folder / str(split) / str(name)
                target.mkdir(parents=True)
                named = {f"{kind}_name": names[pairs[kind].to_numpy()] for kind in SIDES}
                table = pairs.assign(**named)[[*named, "label", "cell_line"]]
                table.to_csv(target / "pairs_hg19.csv", index=False, lineterminator="\n")
                _write_sequences(world, genome, pairs["enhancer"], target / "e_seq.csv")
                _write_sequences(world, genome, pairs["promoter"], target / "p_seq.csv")
        _write_truth(world, genome, folder / "truth")


def _write_fasta(stream: TextIO, name: str, text: str) -> None:
    stream.write(f">{name}\n")
    stream.writelines(f"{text[at : at + WRAP]}\n" for at in range(0, len(text), WRAP))


def _write_sequences(world: World, genome: Genome, used: pd.Series, path: Path) -> None:
    chosen = world.universe.elements.loc[sorted(used.unique()), ["name", "chrom", "start", "end"]]
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("region,sequence\n")
        for name, chrom, start, end in chosen.itertuples(index=False):
            stream.write(f"{name},{genome.text(chrom, start, end)}\n")


def _write_truth(world: World, genome: Genome, folder: Path) -> None:
    """Write what evaluation may compare with and training never reads."""
    folder.mkdir()
    first = ["cell_line", "impedance", "temperature", "trace_factor", "nuisance_factor", "share_positive"]
    first = [name for name in first if name in world.environments]
    rest = [name for name in world.environments.columns if name not in first]
    world.environments[first + rest].to_csv(folder / "environments.tsv", sep="\t", index=False, lineterminator="\n")
    names = world.universe.elements["name"].to_numpy()
    named = {f"{kind}_name": names[world.pairs[kind].to_numpy()] for kind in SIDES}
    columns = ["cell_line", *named, "split", "potential", "logit"]
    columns += [name for name in world.pairs.columns if name.startswith(("impedance", "exposure"))]
    pairs = world.pairs.assign(**named)[columns]
    pq.write_table(pa.Table.from_pandas(pairs, preserve_index=False), folder / "pairs.parquet")
    motif = np.array(_motif_names(world))
    sites = genome.sites.assign(
        element=names[genome.sites["element"].to_numpy()], motif=motif[genome.sites["slot"].to_numpy()]
    )
    columns = ["element", "motif", "chrom", "start", "end", "strand"]
    pq.write_table(pa.Table.from_pandas(sites[columns], preserve_index=False), folder / "sites.parquet")
    write_json(folder / "world.json", describe(world))


def _motif_names(world: World) -> list[str]:
    """Id and name of the motif of each slot."""
    return [f"{world.bank.ids[i]} {world.bank.names[i]}" for i in world.motifs]


def _given(parameters: list[tuple[str, Any]]) -> dict[str, Any]:
    """Parameters by name, without those of a selection or of shared loci that there is not."""
    return {name: value for name, value in parameters if value is not None and (name != "shared_loci" or value)}


def describe(world: World) -> dict[str, Any]:
    """Return the grammar and the parameters of a world as plain JSON values."""
    names = _motif_names(world)
    enhancer, promoter = names[world.slots.enhancer], names[world.slots.promoter]
    spectrum = {}
    if world.spectrum is not None:
        motifs = dict(zip(("enhancer_motif", "promoter_motif"), names[world.slots.exposure], strict=True))
        parts = [names[part] for part in world.slots.traces]
        spectrum = {"spectrum": dataclasses.asdict(world.spectrum) | motifs | {"trace_motifs": parts}}
    return {
        "format_version": 1,
        "world": world.world,
        "seed": world.seed,
        "grammar": {
            "offset": world.grammar.offset,
            "rules": [
                {
                    "enhancer_motif": None if rule.enhancer is None else enhancer[rule.enhancer],
                    "promoter_motif": None if rule.promoter is None else promoter[rule.promoter],
                    "convergent": rule.convergent,
                    "weight": rule.weight,
                }
                for rule in world.grammar.rules
            ],
        },
        "trace_motifs": names[world.slots.trace],
        "nuisance_motifs": names[world.slots.nuisance],
        "prior": world.prior,
        "parameters": dataclasses.asdict(world.config, dict_factory=_given),
        **spectrum,
    }
