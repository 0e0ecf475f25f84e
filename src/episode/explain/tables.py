"""Explanations as tables: sites, interactions, pairs, scores, bases, and what motifs do over all pairs.

The columns are described in ``docs/explain.md``. Positions are 0-based half-open; strands are those of the stored
element, which is the forward strand of the genome where coordinates are known. Columns that end in ``_sd`` are standard
deviations between members, and only there where a run has several. This module does NOT know figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from episode.dna import DNA_ALPHABET, UNKNOWN
from episode.encode.bins import bin_bounds
from episode.encode.motifs import MotifBank
from episode.explain.explanation import Explainer, Explanation, SiteEffect
from episode.explain.pair_scorer import KINDS, spread
from episode.explain.pair_selection import Chosen
from episode.explain.sites import Site
from episode.lines import write_tsv
from episode.predict.alarms import alarm_names

__all__ = [
    "base_table",
    "bed_table",
    "gradient_table",
    "interaction_table",
    "motif_names",
    "motif_pair_table",
    "motif_table",
    "pair_table",
    "site_table",
    "write_tables",
]

STRANDS = "+-"
RAISES, LOWERS = "0,114,178", "213,94,0"
"""Colours of a site in BED: the blue and the red of the figures."""
WORTH = 0.005
"""Fraction of all that a pair's scores add, in size, below which a score is not listed."""
PARTS = ("chrom", "start", "end")
PLACE = ["motif_id", "motif", "gate", "start", "end", "strand"]


def motif_names(bank: MotifBank, site: Site) -> tuple[str, str]:
    """Id and name of the motif of a site."""
    owner = bank.gate if site.gate and bank.gate is not None else bank
    return owner.ids[site.motif], owner.names[site.motif]


def site_table(explanations: Sequence[Explanation], bank: MotifBank) -> pd.DataFrame:
    """One row a site of a pair."""
    columns = ["pair", "element", "element_name", *PLACE, "faces_partner", "score", "effect", "effect_sd"]
    columns += ["channel_effect", "gradient", "gradient_sd", "also", "chrom", "genome_start", "genome_end"]
    rows = []
    for explanation in explanations:
        chosen = explanation.chosen
        for effect in explanation.sites:
            site, knockout, placed = effect.site, effect.knockout, chosen.elements[effect.kind]
            also = "; ".join(sorted({" ".join(motif_names(bank, other)) for other in knockout.also}))
            effects = (site.score, knockout.effect, knockout.effect_sd, knockout.channel)
            gradients = (effect.gradient, effect.gradient_sd)
            first = placed.origin
            genome = (placed.chrom, first + site.start, first + site.end) if placed.chrom else ("", -1, -1)
            element = (chosen.name, effect.kind, placed.name)
            rows.append((*element, *_place(effect, bank), _faces(chosen, effect), *effects, *gradients, also, *genome))
    return _known_spread(pd.DataFrame(rows, columns=columns), explanations)


def interaction_table(explanations: Sequence[Explanation], bank: MotifBank) -> pd.DataFrame:
    """One row an enhancer site with a promoter site of a pair, by size of their interaction."""
    columns = ["pair", *(f"{kind}_{name}" for kind in KINDS for name in (*PLACE, "effect")), "interaction"]
    columns += ["interaction_sd"]
    rows = []
    for explanation in explanations:
        sd = spread(explanation.interactions)
        for (i, j), interaction in np.ndenumerate(explanation.interaction):
            sites = explanation.joint["enhancer"][i], explanation.joint["promoter"][j]
            facts = [fact for site in sites for fact in (*_place(site, bank), site.knockout.effect)]
            rows.append((explanation.chosen.name, *facts, interaction, sd[i, j]))
    return _known_spread(_by_size(pd.DataFrame(rows, columns=columns), "interaction"), explanations)


def pair_table(explanations: Sequence[Explanation]) -> pd.DataFrame:
    """One row a pair, with the check that its gradient is complete."""
    rows = [
        {
            "pair": e.chosen.name,
            **{kind: e.chosen.elements[kind].name for kind in KINDS},
            **{f"{kind}_{part}": getattr(e.chosen.elements[kind], part) for kind in KINDS for part in PARTS},
            "mirrored": e.chosen.mirrored,
            "has_coordinates": e.chosen.oriented,
            "view": e.view,
            "potential": e.potential,
            "potential_sd": e.potential_sd,
            "distance_term": e.distance_term,
            "above_background": e.gradient.difference,
            "gradient_sum": e.gradient.total,
            "gradient_gap": e.gradient.gap,
            "gradient_steps": e.gradient.steps,
            "candidates": sum(e.candidates.values()),
            "left_out": e.left_out,
            "sites": len(e.sites),
        }
        for e in explanations
    ]
    table = pd.DataFrame(rows)
    closed = table["view"].notna().any()
    return _known_spread(table if closed else table.drop(columns="view"), explanations)


def gradient_table(explanations: Sequence[Explanation], explainer: Explainer) -> pd.DataFrame:
    """One row a score (motif, strand, bin, element) that adds at least `WORTH` of all that the pair's scores add."""
    columns = ["pair", "element", "motif_id", "motif", "gate", "bin", "start", "end", "strand", "gradient"]
    columns += ["gradient_sd"]
    rows = []
    stem, gate = explainer.run.facts.config.stem, explainer.motifs.gate
    for explanation in explanations:
        gradient, sd, chosen = explanation.gradient, explanation.gradient_sd, explanation.chosen
        groups = [(gradient.scores, None if sd is None else sd.scores, explainer.channels, stem.bin, False)]
        if gate is not None:
            named = list(zip(gate.ids, gate.names, strict=True))
            groups.append((gradient.gate, None if sd is None else sd.gate, named, stem.gate_bin, True))
        size = sum(np.abs(part).sum() for group, *_ in groups for part in group.values())
        for group, differ, names, width, gated in groups:
            for kind, part in group.items():
                for place, strand, motif in np.argwhere(np.abs(part) >= max(WORTH * size, 1e-12)).tolist():
                    bounds = bin_bounds(place, chosen.elements[kind].length, width)
                    at = place, strand, motif
                    values = part[at], np.nan if differ is None else differ[kind][at]
                    rows.append((chosen.name, kind, *names[motif], gated, place, *bounds, STRANDS[strand], *values))
    return _known_spread(pd.DataFrame(rows, columns=columns), explanations)


def base_table(explanations: Sequence[Explanation]) -> pd.DataFrame:
    """One row a base that was substituted."""
    bases = DNA_ALPHABET[:UNKNOWN]
    columns = ["pair", "element", "position", "chrom", "genome_position", "base"]
    columns += [*(f"effect_{base}" for base in bases), "mean_effect", "mean_effect_sd", "greatest_effect"]
    frames = []
    for explanation in explanations:
        for kind, _, found in explanation.bases:
            placed = explanation.chosen.elements[kind]
            position = np.arange(found.start, found.start + len(found.reference))
            known = found.reference < UNKNOWN
            effect = found.effect
            largest = np.abs(np.nan_to_num(effect)).argmax(axis=1)
            frame = pd.DataFrame(
                {
                    "pair": explanation.chosen.name,
                    "element": kind,
                    "position": position,
                    "chrom": placed.chrom,
                    "genome_position": position + placed.origin if placed.chrom else -1,
                    "base": [bases[code] if code < UNKNOWN else "N" for code in found.reference],
                    **{f"effect_{base}": effect[:, code] for code, base in enumerate(bases)},
                    "mean_effect": found.mean,
                    "mean_effect_sd": found.mean_sd,
                    "greatest_effect": effect[np.arange(len(largest)), largest],
                }
            )
            frames.append(frame[known])
    if not frames:
        return _known_spread(pd.DataFrame(columns=columns), explanations)
    table = pd.concat(frames, ignore_index=True).drop_duplicates(["pair", "element", "position"])
    return _known_spread(table, explanations)


def motif_table(sites: pd.DataFrame, pairs: int) -> pd.DataFrame:
    """What each motif does over all pairs, by element: sorted by the effect that it has in an average pair.

    The effect is that of its own channel, so that a motif is not credited with what its neighbours read; where the stem
    has no such channel, that of the whole knock-out. The matrices of the boundary gate are one motif.
    """
    sites = sites.assign(
        motif_id=sites["motif_id"].where(~sites["gate"].astype(bool), "gate"),
        own_effect=sites["channel_effect"].fillna(sites["effect"]),
    )
    return _ranking(sites, ["element", "motif_id", "motif"], "own_effect", pairs, gradient=True)


def motif_pair_table(joint: pd.DataFrame, pairs: int) -> pd.DataFrame:
    """What each enhancer motif does with each promoter motif over all pairs, sorted likewise; the gate is one motif."""
    for kind in KINDS:
        own = ~joint[f"{kind}_gate"].astype(bool)
        joint = joint.assign(**{f"{kind}_motif_id": joint[f"{kind}_motif_id"].where(own, "gate")})
    names = [f"{kind}_{name}" for kind in KINDS for name in ("motif_id", "motif")]
    return _ranking(joint, names, "interaction", pairs)


def _ranking(table: pd.DataFrame, by: list[str], value: str, pairs: int, *, gradient: bool = False) -> pd.DataFrame:
    frame = table.assign(size=table[value].abs())
    measures: dict[str, tuple[str, str]] = {
        "sites": (value, "size"),
        f"mean_{value}": (value, "mean"),
        f"mean_size_of_{value}": ("size", "mean"),
        "total": ("size", "sum"),
    }
    if gradient:
        measures["mean_gradient"] = ("gradient", "mean")
    ranking = frame.groupby(by, sort=True).agg(**measures).reset_index()
    ranking["per_pair"] = ranking.pop("total") / pairs
    return _by_size(ranking, "per_pair")


def bed_table(sites: pd.DataFrame) -> pd.DataFrame:
    """Sites with coordinates as BED9: score 1,000 for the strongest effect, colour for its sign."""
    placed = sites[sites["chrom"] != ""]
    size = placed["effect"].abs()
    largest = float(size.max()) if len(placed) else 0.0
    frame = pd.DataFrame(
        {
            "chrom": placed["chrom"],
            "start": placed["genome_start"],
            "end": placed["genome_end"],
            "name": placed["motif"].str.replace(r"\s+", "_", regex=True) + "|" + placed["pair"],
            "score": (1000 * size / (largest or 1.0)).round().astype("int64"),
            "strand": placed["strand"],
            "thick_start": placed["genome_start"],
            "thick_end": placed["genome_end"],
            "colour": np.where(placed["effect"] >= 0, RAISES, LOWERS),
        }
    )
    return frame.sort_values(["chrom", "start", "end", "name"], kind="stable")


def write_tables(explanations: Sequence[Explanation], explainer: Explainer, folder: Path) -> dict[str, pd.DataFrame]:
    """Write all tables into a folder; return them."""
    bank, pairs = explainer.motifs, len(explanations)
    sites, joint = site_table(explanations, bank), interaction_table(explanations, bank)
    motifs, motif_pairs = motif_table(sites, pairs), motif_pair_table(joint, pairs)
    members = len(explanations[0].potentials)
    if members > 1:
        alone = [[_alone(explanation, number) for explanation in explanations] for number in range(members)]
        _add_spread(motifs, [motif_table(site_table(each, bank), pairs) for each in alone])
        _add_spread(motif_pairs, [motif_pair_table(interaction_table(each, bank), pairs) for each in alone])
    tables = {
        "sites": sites,
        "interactions": joint,
        "pairs": pair_table(explanations).assign(alarms="; ".join(alarm_names(explainer.run.alarms))),
        "gradient": gradient_table(explanations, explainer),
        "bases": base_table(explanations),
        "motifs": motifs,
        "motif_pairs": motif_pairs,
    }
    for name, table in tables.items():
        write_tsv(table, folder / f"{name}.tsv")
    write_tsv(bed_table(sites), folder / "sites.bed", header=False, quoted=False)
    return tables


def _known_spread(table: pd.DataFrame, explanations: Sequence[Explanation]) -> pd.DataFrame:
    """Leave the columns that end in ``_sd`` out where there is one member, which differs from nothing."""
    if any(len(explanation.potentials) > 1 for explanation in explanations):
        return table
    return table.drop(columns=[name for name in table if str(name).endswith("_sd")])


def _alone(explanation: Explanation, member: int) -> Explanation:
    """Return knock-outs and joint knock-outs as one member has them."""
    mine = slice(member, member + 1)

    def one(effect: SiteEffect) -> SiteEffect:
        knockout = effect.knockout
        own = replace(knockout, effects=knockout.effects[mine], channels=knockout.channels[mine])
        return replace(effect, knockout=own, gradients=effect.gradients[mine])

    return replace(
        explanation,
        potentials=explanation.potentials[mine],
        sites=tuple(map(one, explanation.sites)),
        joint={kind: tuple(map(one, effects)) for kind, effects in explanation.joint.items()},
        interactions=explanation.interactions[mine],
    )


def _add_spread(ranking: pd.DataFrame, members: Sequence[pd.DataFrame]) -> None:
    """Put behind the mean effect of a ranking its standard deviation between the rankings of members."""
    names = list(map(str, ranking.columns))
    place = names.index("sites") + 1
    keys, value = names[: place - 1], names[place]
    sd = pd.concat(members).groupby(keys)[value].std()
    ranking.insert(place + 1, f"{value}_sd", sd.reindex(pd.MultiIndex.from_frame(ranking[keys])).to_numpy())


def _place(effect: SiteEffect, bank: MotifBank) -> tuple[str, str, bool, int, int, str]:
    """Motif and position of a site within its element: `PLACE`."""
    site = effect.site
    return *motif_names(bank, site), site.gate, site.start, site.end, STRANDS[site.strand]


def _faces(chosen: Chosen, effect: SiteEffect) -> str:
    """Whether the site points at the partner; empty where the orientation is unknown."""
    if not chosen.oriented:
        return ""
    forward = effect.site.strand == int(chosen.mirrored)
    return "yes" if forward == (effect.kind == "enhancer") else "no"


def _by_size(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sort by absolute value, largest first; ties stay in order."""
    order = np.argsort(-table[column].abs().to_numpy(np.float64), kind="stable")
    return table.iloc[order].reset_index(drop=True)
