"""Do explanations find what was planted? Judged on a simulated world, whose grammar and sites are known.

    python benchmarks/attribution.py RUN DATASET TRUTH RESULT.json --pairs 200 --seed 0

Explains pairs of the split "test", drawn by the seed (no label is read), and compares with ``truth/``:

- **pairs at 10**: every enhancer site x promoter site of all pairs, by size of the interaction of their joint
  knock-out; from the top, those are passed over whose enhancer or promoter was met already, until there are ten. A hit
  has both sites overlapping planted sites (same strand) whose motifs are a product of the grammar, in the orientation
  that it asks for; `rules` counts the products that are among the hits.
- **sites at 10**: the same for single sites by size of their knock-out effect, no element twice. A hit overlaps a
  planted site of a motif that the grammar reads in that kind of element.
- **motifs at 10** and **motif pairs at 6**: (element, motif) and (enhancer motif, promoter motif) by what they do in an
  average pair, as `motifs.tsv` and `motif_pairs.tsv` have them; the grammar has 5 + 5 motifs and 6 products.
- **agreement** of knock-out, gradient and truth over sites that overlap a planted site of the grammar. The true effect
  of a site is what the true U_I of the pair loses without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from episode.checkpoint import load_run
from episode.cli.options import set_threads
from episode.data.splits import select_rows
from episode.data.storage import load_dataset
from episode.documents import read_json
from episode.encode.store import build_store
from episode.explain.explanation import Explainer, Options
from episode.explain.pair_selection import choose_pairs
from episode.explain.tables import interaction_table, motif_pair_table, motif_table, site_table
from episode.files import write_json

TOP = 10
KINDS = ("enhancer", "promoter")
Rules = list[dict[str, Any]]


def main() -> None:
    """Explain, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("run", "dataset", "truth", "result"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    set_threads(args.threads)
    run, dataset = load_run(args.run), load_dataset(args.dataset)
    dataset = dataset.select(select_rows(dataset, split="test"))
    store = build_store(dataset, run.bank, run.facts.config.stem, args.cache or args.dataset / "store")
    explainer = Explainer(run, dataset, store, Options(logos=0), seed=args.seed)
    chosen = choose_pairs(run, dataset, store, args.pairs, by="random", seed=args.seed)
    explanations = [explainer.explain(pair) for pair in chosen]
    sites, joint = site_table(explanations, explainer.motifs), interaction_table(explanations, explainer.motifs)
    rules: Rules = read_json(args.truth / "world.json")["grammar"]["rules"]
    facts = pd.DataFrame(
        [(e.chosen.name, e.chosen.mirrored, *(e.chosen.elements[kind].name for kind in KINDS)) for e in explanations],
        columns=["pair", "mirrored", *KINDS],
    ).set_index("pair")
    sites = mark_planted(sites, pd.read_parquet(args.truth / "sites.parquet"), rules)
    sites["true_effect"] = true_effects(sites, facts, rules)
    result = {
        "pairs": len(explanations),
        "seed": args.seed,
        "run_seed": run.facts.seed,
        "greatest_gradient_gap": max(abs(e.gradient.gap) for e in explanations),
        "pairs_at_10": pairs_at(joint, sites, facts, rules),
        "sites_at_10": sites_at(sites),
        **motif_level(sites, joint, rules, len(explanations)),
        "agreement": agreement(sites),
    }
    write_json(args.result, result)
    for name in ("pairs_at_10", "sites_at_10", "motifs_at_10", "motif_pairs_at_6"):
        print(name, result[name]["precision"])
    print("agreement", result["agreement"])


def mark_planted(sites: pd.DataFrame, planted: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Add `planted`: the grammar motif planted there on the same strand, "" if none (most overlap wins)."""
    read = {kind: {rule[f"{kind}_motif"] for rule in rules} - {None} for kind in KINDS}
    by_element = dict(list(planted.groupby("element")))
    found = []
    site: Any
    for site in sites.itertuples():
        near = by_element.get(site.element_name)
        motif = ""
        if near is not None:
            shared = np.minimum(near["end"], site.genome_end) - np.maximum(near["start"], site.genome_start)
            mine = near.assign(shared=shared)[
                (shared > 0) & (near["strand"] == site.strand) & near["motif"].isin(list(read[site.element]))
            ]
            motif = "" if mine.empty else str(mine.sort_values("shared")["motif"].iloc[-1])
        found.append(motif)
    return sites.assign(planted=found)


def holds(rule: dict[str, Any], strands: dict[str, dict[str, str]], mirrored: bool) -> bool:
    """Whether a rule holds in a pair: `strands` has the strand of each grammar motif, by kind of element."""
    for kind, facing in (("enhancer", "+"), ("promoter", "-")):
        motif = rule[f"{kind}_motif"]
        if motif is None:
            continue
        if motif not in strands[kind]:
            return False
        if rule["convergent"] and (strands[kind][motif] == facing) == mirrored:
            return False
    return True


def true_effects(sites: pd.DataFrame, facts: pd.DataFrame, rules: Rules) -> pd.Series:
    """What the true U_I of each pair loses without each planted site that was found; NaN elsewhere."""
    effect = pd.Series(np.nan, index=sites.index)
    row: Any
    for pair, group in sites[sites["planted"] != ""].groupby("pair"):
        strands: dict[str, dict[Any, Any]] = {
            kind: dict(group.loc[group["element"] == kind, ["planted", "strand"]].itertuples(index=False))
            for kind in KINDS
        }
        mirrored = bool(facts["mirrored"][str(pair)])
        for row in group.itertuples():
            rest = {**strands, row.element: {m: s for m, s in strands[row.element].items() if m != row.planted}}
            effect[row.Index] = sum(
                rule["weight"] * (holds(rule, strands, mirrored) - holds(rule, rest, mirrored)) for rule in rules
            )
    return effect


def pairs_at(joint: pd.DataFrame, sites: pd.DataFrame, facts: pd.DataFrame, rules: Rules) -> dict[str, Any]:
    """Precision of the greatest interactions, no element twice."""
    planted = {(s.pair, s.element, s.start, s.strand): s.planted for s in cast(Any, sites.itertuples())}
    met: dict[str, set[str]] = {kind: set() for kind in KINDS}
    rows = []
    row: Any
    for row in joint.itertuples():
        names = {kind: str(facts[kind][row.pair]) for kind in KINDS}
        if any(names[kind] in met[kind] for kind in KINDS):
            continue
        for kind in KINDS:
            met[kind].add(names[kind])
        strands = {"enhancer": row.enhancer_strand, "promoter": row.promoter_strand}
        there = {
            "enhancer": planted[row.pair, "enhancer", row.enhancer_start, row.enhancer_strand],
            "promoter": planted[row.pair, "promoter", row.promoter_start, row.promoter_strand],
        }
        weights = [
            rule["weight"]
            for rule in rules
            if all(rule[f"{kind}_motif"] == there[kind] for kind in KINDS)
            and holds(rule, {kind: {there[kind]: strands[kind]} for kind in KINDS}, bool(facts["mirrored"][row.pair]))
        ]
        rows.append(
            {
                "enhancer_motif": row.enhancer_motif,
                "promoter_motif": row.promoter_motif,
                "interaction": row.interaction,
                "true_weight": weights[0] if weights else 0.0,
                "hit": bool(weights),
            }
        )
        if len(rows) == TOP:
            break
    found = {(row["enhancer_motif"], row["promoter_motif"]) for row in rows if row["hit"]}
    return {"precision": float(np.mean([row["hit"] for row in rows])), "rules": len(found), "top": rows}


def sites_at(sites: pd.DataFrame) -> dict[str, Any]:
    """Precision of the greatest knock-out effects and of the greatest gradients, no element twice."""
    result: dict[str, Any] = {}
    for column, name in (("effect", "precision"), ("gradient", "precision_of_gradient")):
        order = sites.iloc[np.argsort(-sites[column].abs().to_numpy(), kind="stable")]
        top = order.drop_duplicates(["element", "element_name"]).head(TOP)
        result[name] = float((top["planted"] != "").mean())
    return result


def motif_level(sites: pd.DataFrame, joint: pd.DataFrame, rules: Rules, pairs: int) -> dict[str, Any]:
    """How much of the grammar heads the rankings of motifs and of motif pairs."""
    single = motif_table(sites, pairs).head(TOP)
    grammar = {(kind, rule[f"{kind}_motif"]) for rule in rules for kind in KINDS} - {(kind, None) for kind in KINDS}
    hits = [(row.element, f"{row.motif_id} {row.motif}") in grammar for row in single.itertuples()]
    products = {(r["enhancer_motif"], r["promoter_motif"]): r["weight"] for r in rules if None not in r.values()}
    double = motif_pair_table(joint, pairs).head(len(products))
    names = [
        (f"{row.enhancer_motif_id} {row.enhancer_motif}", f"{row.promoter_motif_id} {row.promoter_motif}")
        for row in double.itertuples()
    ]
    return {
        "motifs_at_10": {
            "precision": float(np.mean(hits)),
            "of": len(grammar),
            "top": [
                [row.element, row.motif, row.per_pair, hit] for row, hit in zip(single.itertuples(), hits, strict=True)
            ],
        },
        "motif_pairs_at_6": {
            "precision": float(np.mean([name in products for name in names])),
            "of": len(products),
            "top": [
                [*name, row.per_pair, row.mean_interaction, products.get(name, 0.0)]
                for name, row in zip(names, double.itertuples(), strict=True)
            ],
        },
    }


def agreement(sites: pd.DataFrame) -> dict[str, Any]:
    """Correlations over planted sites of the grammar, and of both methods over all sites."""
    known = sites[sites["planted"] != ""]
    found: dict[str, Any] = {"planted_sites": len(known), "sites": len(sites)}
    for one, other in (("effect", "gradient"), ("effect", "true_effect"), ("gradient", "true_effect")):
        found[f"{one}_{other}"] = {
            "pearson": float(pearsonr(known[one], known[other])[0]),
            "spearman": float(spearmanr(known[one], known[other])[0]),
        }
    found["all_sites_effect_gradient"] = {
        "pearson": float(pearsonr(sites["effect"], sites["gradient"])[0]),
        "spearman": float(spearmanr(sites["effect"], sites["gradient"])[0]),
    }
    large = known[known["effect"].abs() > 0.1]
    found["same_sign_above_0.1"] = float((np.sign(large["effect"]) == np.sign(large["gradient"])).mean())
    return found


if __name__ == "__main__":
    main()
