"""The files of a simulated world: what they hold, that readers take them, that a seed decides their bytes."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from episode.cli.main import build_parser
from episode.config import StemConfig, WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.readers import read_pairs
from episode.encode.motifs import MotifBank, load_bank
from episode.errors import EpisodeError
from episode.simulate import PRESETS, World, draw_genome, simulate, write_domain_kl, write_tidy
from episode.simulate.sequences import sample_sites

WHOLE = WindowConfig(enhancer=0, promoter=0)


@pytest.fixture(scope="module")
def bank() -> MotifBank:
    return load_bank(StemConfig())


@pytest.fixture(scope="module")
def world(bank: MotifBank) -> World:
    return simulate(PRESETS["tiny"], "both", 3, bank=bank)


@pytest.fixture(scope="module")
def tidy(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tidy") / "world"
    write_tidy(world, path)
    return path


@pytest.fixture(scope="module")
def domain_kl(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kl") / "world"
    write_domain_kl(world, path)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def best_score(codes: np.ndarray, log_odds: np.ndarray) -> float:
    starts = np.arange(len(codes) - len(log_odds) + 1)
    return max(sum(log_odds[k, codes[starts + k]] for k in range(len(log_odds))))


class TestDna:
    def test_planted_sites_can_be_read(self, world: World) -> None:
        """Nearly all planted sites outscore nearly all of the background, on their own strand."""
        genome = draw_genome(world)
        elements = world.universe.elements
        rng = np.random.default_rng(0)
        for kind, slots in (("enhancer", world.slots.enhancer), ("promoter", world.slots.promoter)):
            chosen = rng.choice(np.flatnonzero(elements["kind"] == kind), 120, replace=False)
            for slot in range(slots.start, slots.stop):
                log_odds = world.bank.log_odds(world.motifs[slot]).astype(float)
                dna = [
                    genome.codes[c][s:e]
                    for c, s, e in elements.loc[chosen, ["chrom", "start", "end"]].itertuples(index=False)
                ]
                scores = np.array([[best_score(d, log_odds), best_score(d, log_odds[::-1, ::-1])] for d in dna])
                site = world.universe.sites[chosen, slot]
                best = scores.max(axis=1)
                above = best[site != 0][:, None] > best[site == 0][None, :]
                assert above.mean() > 0.96
                strand = np.where(scores[:, 0] > scores[:, 1], 1, -1)
                assert (strand == site)[site != 0].mean() > 0.93

    def test_weak_sites_are_drawn_again(self) -> None:
        p = np.array([[0.7, 0.1, 0.1, 0.1]] * 10)
        plain = sample_sites(p, 2000, 0.0, np.random.default_rng(0))
        strong = sample_sites(p, 2000, 0.3, np.random.default_rng(0))
        assert plain.shape == strong.shape == (2000, 10)
        assert (plain == 0).mean() == pytest.approx(0.7, abs=0.01)
        # 30 % of the sites have at most 6 consensus bases of 10; the quantile itself (6) is kept.
        assert (plain == 0).sum(axis=1).min() < 6 == (strong == 0).sum(axis=1).min()

    def test_without_chance_sites_presence_is_a_function_of_the_dna(self, bank: MotifBank) -> None:
        """No stretch of background is as good a site as the weakest planted one of its motif."""
        planted = simulate(replace(PRESETS["tiny"], chance_sites=False), "both", 3, bank=bank)
        genome = draw_genome(planted)
        held = {chrom: np.zeros(len(dna), dtype=bool) for chrom, dna in genome.codes.items()}
        for chrom, start, end in genome.sites[["chrom", "start", "end"]].itertuples(index=False):
            held[chrom][start:end] = True
        for slot, motif in enumerate(planted.motifs):
            forward = bank.log_odds(motif).astype(float)
            at_site, by_chance = [], []
            for chrom, dna in genome.codes.items():
                windows = np.lib.stride_tricks.sliding_window_view(dna, len(forward))
                background = ~np.lib.stride_tricks.sliding_window_view(held[chrom], len(forward)).any(axis=1)
                mine = genome.sites[(genome.sites["slot"] == slot) & (genome.sites["chrom"] == chrom)]
                for strand, log_odds in (("+", forward), ("-", forward[::-1, ::-1])):
                    scores = log_odds[np.arange(len(forward)), windows].sum(axis=1)
                    at_site.append(scores[mine.loc[mine["strand"] == strand, "start"]])
                    by_chance.append(scores[background])
            assert np.concatenate(at_site).min() > np.concatenate(by_chance).max()

    def test_taking_chance_sites_out_leaves_planted_ones_and_nearly_all_else(self, bank: MotifBank) -> None:
        config = replace(PRESETS["tiny"], chance_sites=False)
        with_chance = draw_genome(simulate(PRESETS["tiny"], "both", 3, bank=bank))
        without = draw_genome(simulate(config, "both", 3, bank=bank))
        pd.testing.assert_frame_equal(with_chance.sites, without.sites)
        for _, _, chrom, start, end, _ in without.sites.itertuples(index=False):
            np.testing.assert_array_equal(without.codes[chrom][start:end], with_chance.codes[chrom][start:end])
        changed = np.concatenate([without.codes[c] != with_chance.codes[c] for c in without.codes])
        assert 0 < changed.mean() < 2e-3

    def test_no_site_no_letters(self) -> None:
        assert sample_sites(np.full((8, 4), 0.25), 0, 0.3, np.random.default_rng(0)).shape == (0, 8)


class TestTidy:
    def test_the_reader_takes_it(self, world: World, tidy: Path) -> None:
        dataset = self.dataset(tidy)
        assert len(dataset.pairs) == len(world.pairs)
        np.testing.assert_array_equal(dataset.pairs["label"], world.pairs["label"])
        np.testing.assert_array_equal(dataset.pairs["mirrored"], world.pairs["mirrored"])
        np.testing.assert_array_equal(dataset.pairs["split"], world.pairs["split"])
        genome = draw_genome(world)
        elements = world.universe.elements
        for row in (0, 500, len(world.pairs) - 1):
            truth = elements.iloc[world.pairs["enhancer"].iloc[row]]
            planted = genome.codes[truth["chrom"]][truth["start"] : truth["end"]]
            np.testing.assert_array_equal(dataset.sequence(int(dataset.pairs["enhancer_id"].iloc[row])), planted)

    @staticmethod
    def dataset(tidy: Path) -> Dataset:
        return assemble(read_pairs(tidy / "pairs.tsv"), open_genome(tidy / "genome.fa"), WHOLE)

    def test_the_truth_is_beside_it(self, world: World, tidy: Path) -> None:
        lines = pd.read_csv(tidy / "truth" / "environments.tsv", sep="\t")
        assert list(lines.columns[:6]) == [
            "cell_line",
            "impedance",
            "temperature",
            "trace_factor",
            "nuisance_factor",
            "share_positive",
        ]
        np.testing.assert_allclose(lines["impedance"], world.environments["impedance"])
        shares = world.pairs.groupby("cell_line")["label"].mean().reindex(lines["cell_line"])
        np.testing.assert_allclose(lines["share_positive"], shares)
        pairs = pd.read_parquet(tidy / "truth" / "pairs.parquet")
        given = read_pairs(tidy / "pairs.tsv").frame
        for column in ("cell_line", "enhancer_name", "promoter_name", "split"):
            assert pairs[column].tolist() == given[column].tolist()
        merged = pairs.merge(lines, on="cell_line")
        np.testing.assert_allclose(merged["logit"], (merged["potential"] - merged["impedance"]) / merged["temperature"])
        about = json.loads((tidy / "truth" / "world.json").read_text())
        assert (about["world"], about["seed"]) == ("both", 3)
        assert len(about["grammar"]["rules"]) == 12
        assert sum(rule["convergent"] for rule in about["grammar"]["rules"]) == 1

    def test_every_planted_site_stands_where_the_truth_says(self, world: World, tidy: Path) -> None:
        sites = pd.read_parquet(tidy / "truth" / "sites.parquet")
        assert len(sites) == (world.universe.sites != 0).sum()
        genome = draw_genome(world)
        elements: Any = world.universe.elements.set_index("name")
        row: Any
        for row in sites.iloc[:: len(sites) // 50].itertuples():
            motif = world.bank.index(row.motif.split()[0])
            bits = world.bank.log_odds(motif)
            codes = genome.codes[row.chrom][row.start : row.end]
            site = codes if row.strand == "+" else 3 - codes[::-1]
            assert len(site) == len(bits)
            assert bits[np.arange(len(bits)), site].sum() > 0.4 * bits.max(axis=1).sum()
            assert elements.loc[row.element, "start"] <= row.start < row.end <= elements.loc[row.element, "end"]

    def test_the_tables_do_not_tell_the_truth(self, tidy: Path) -> None:
        assert sorted(p.name for p in tidy.iterdir()) == ["genome.fa", "pairs.tsv", "truth"]
        assert list(pd.read_csv(tidy / "pairs.tsv", sep="\t").columns) == [
            "cell_line",
            "label",
            *(f"{kind}_{part}" for kind in ("enhancer", "promoter") for part in ("chrom", "start", "end")),
            "split",
        ]

    def test_same_seed_same_bytes(self, world: World, tidy: Path, tmp_path: Path) -> None:
        again = simulate(PRESETS["tiny"], "both", 3, bank=world.bank)
        write_tidy(again, tmp_path / "again")
        assert contents(tmp_path / "again") == contents(tidy)

    def test_nothing_is_overwritten(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("keep")
        with pytest.raises(EpisodeError, match="not empty"):
            write_tidy(world, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


class TestDomainKl:
    def test_folders(self, world: World, domain_kl: Path) -> None:
        unseen = world.environments.loc[world.environments["role"] == "unseen", "cell_line"]
        assert sorted(p.name for p in (domain_kl / "test").iterdir()) == sorted(unseen)
        assert [p.name for p in (domain_kl / "train").iterdir()] == ["ALL"]
        assert [p.name for p in (domain_kl / "val").iterdir()] == ["ALL"]
        pairs = pd.read_csv(domain_kl / "test" / unseen.iloc[0] / "pairs_hg19.csv")
        assert list(pairs.columns) == ["enhancer_name", "promoter_name", "label", "cell_line"]
        assert set(pairs["cell_line"]) == {unseen.iloc[0]}
        sequences = pd.read_csv(domain_kl / "test" / unseen.iloc[0] / "e_seq.csv")
        assert list(sequences.columns) == ["region", "sequence"]
        assert set(sequences["region"]) == set(pairs["enhancer_name"])
        assert sequences["region"].is_unique

    def test_both_formats_are_the_same_world(self, tidy: Path, domain_kl: Path) -> None:
        from_tidy = TestTidy.dataset(tidy)
        from_kl = assemble(read_pairs(domain_kl), None, WHOLE)
        key = ["cell_line", "split", "enhancer_name", "promoter_name"]
        a, b = (d.pairs.sort_values(key).reset_index(drop=True) for d in (from_tidy, from_kl))
        pd.testing.assert_frame_equal(a[[*key, "label", "mirrored"]], b[[*key, "label", "mirrored"]])
        for side in ("enhancer", "promoter"):
            left, right = int(a[f"{side}_id"].iloc[7]), int(b[f"{side}_id"].iloc[7])
            np.testing.assert_array_equal(from_tidy.sequence(left), from_kl.sequence(right))


class TestCommand:
    @staticmethod
    def parse(*words: str) -> argparse.Namespace:
        return build_parser().parse_args(["simulate", *words])

    def test_it_writes_what_the_library_does(
        self, tidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        args = self.parse("--out", str(tmp_path / "w"), "--preset", "tiny", "--seed", "3", "--json")
        assert args.run(args) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["training_cell_lines"] == 8 and summary["unseen_cell_lines"] == 4
        assert contents(tmp_path / "w") == contents(tidy)

    def test_domain_kl_and_plain_words(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "w"
        args = self.parse("--out", str(out), "--preset", "tiny", "--world", "concept", "--format", "domain-kl")
        assert args.run(args) == 0
        assert "8 training and 4 unseen cell lines" in capsys.readouterr().out
        assert (out / "train" / "ALL" / "e_seq.csv").exists()
        assert json.loads((out / "truth" / "world.json").read_text())["world"] == "concept"

    def test_help_has_examples(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            self.parse("--help")
        text = capsys.readouterr().out
        assert "examples:" in text and "--preset domain-kl --format domain-kl" in text
