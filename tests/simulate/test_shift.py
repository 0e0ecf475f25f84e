"""Worlds whose pairs are selected to a prevalence, and whose unseen cell lines share loci with the training ones."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from episode.cli.main import build_parser
from episode.config import StemConfig, WindowConfig
from episode.data.dataset import Dataset, assemble
from episode.data.genome import open_genome
from episode.data.leakage import LeakageAuditor
from episode.data.readers import read_pairs
from episode.encode.motifs import MotifBank, load_bank
from episode.errors import ConfigError
from episode.evaluate.summary import check_truth, load_truth, true_logit
from episode.metrics.label_shift import em_prior
from episode.simulate import (
    PRESETS,
    RERANK,
    WORLDS,
    SetConfig,
    World,
    WorldConfig,
    simulate,
    write_domain_kl,
    write_tidy,
)
from episode.simulate.pairs import split_at_random

WHOLE = WindowConfig(enhancer=0, promoter=0)
TINY = PRESETS["tiny-shift"]
EVERY = [*WORLDS, RERANK]


@pytest.fixture(scope="module")
def bank() -> MotifBank:
    return load_bank(StemConfig())


@pytest.fixture(scope="module")
def tenth(bank: MotifBank) -> dict[str, World]:
    return {name: simulate(PRESETS["domain-kl-shift"].scaled(0.1), name, 0, bank=bank) for name in EVERY}


@pytest.fixture(scope="module", params=EVERY)
def world(request: pytest.FixtureRequest, tenth: dict[str, World]) -> World:
    return tenth[request.param]


@pytest.fixture(scope="module")
def tiny(bank: MotifBank) -> World:
    return simulate(TINY, "both", 3, bank=bank)


@pytest.fixture(scope="module")
def folders(tiny: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shift")
    write_tidy(tiny, root / "tidy")
    write_domain_kl(tiny, root / "domain-kl")
    return {name: root / name for name in ("tidy", "domain-kl")}


def dataset(tidy: Path) -> Dataset:
    return assemble(read_pairs(tidy / "pairs.tsv"), open_genome(tidy / "genome.fa"), WHOLE)


def lines_of_pairs(world: World) -> pd.DataFrame:
    """The environment of every pair, one row a pair."""
    return world.environments.set_index("cell_line").loc[world.pairs["cell_line"]].reset_index()


def loci(world: World, role: str) -> set[int]:
    """Loci of the pairs of the training or of the unseen cell lines."""
    chosen = (world.pairs["split"] == "test") == (role == "unseen")
    return set(world.universe.elements["locus"].to_numpy()[world.pairs.loc[chosen, "enhancer"]].tolist())


class TestCounts:
    def test_full_size(self, bank: MotifBank) -> None:
        simulated = simulate(PRESETS["domain-kl-shift"], "both", 0, bank=bank)
        lines = simulated.environments.set_index("cell_line")
        train, unseen = (lines[lines["role"] == role] for role in ("train", "unseen"))
        # 90,937 = 2 x 18,188 + 3 x 18,187; a fifth of either is 3,637.5 at most.
        assert train["pairs"].tolist() == [18_188, 18_188, 18_187, 18_187, 18_187]
        assert unseen["pairs"].tolist() == [30_336] * 8
        positives = simulated.pairs.groupby(["cell_line", "split"])["label"].agg(["sum", "size"])
        assert (positives.xs("test", level="split")["sum"] == 15_168).all()
        # A tenth of 3,638 or 3,637 positives and of 14,550 negatives.
        assert positives.xs("val", level="split").to_numpy().tolist() == [[364, 1_819]] * 5
        assert positives.xs("train", level="split")["sum"].tolist() == [3_274, 3_274, 3_273, 3_273, 3_273]
        assert not simulated.pairs.duplicated(["cell_line", "enhancer", "promoter"]).any()

    def test_prevalence_of_each_cell_line(self, world: World) -> None:
        for _, line in world.environments.iterrows():
            wanted = round(line["pairs"] * (0.2 if line["role"] == "train" else 0.5))
            assert world.pairs.loc[world.pairs["cell_line"] == line["cell_line"], "label"].sum() == wanted

    def test_a_tenth(self) -> None:
        tenth = PRESETS["domain-kl-shift"].scaled(0.1)
        assert tenth.train == SetConfig(chromosomes=12, loci=40, pairs=(1_818, 1_819), total=9_094)
        assert tenth.test == SetConfig(chromosomes=12, loci=40, pairs=(3_034, 3_034))
        assert (tenth.training_lines, tenth.unseen_lines, tenth.val_share) == (5, 8, 0.1)

    def test_a_hundredth_has_as_many_chromosomes_as_loci(self) -> None:
        smallest = PRESETS["domain-kl-shift"].scaled(0.01)
        assert (smallest.train.chromosomes, smallest.train.loci, smallest.train.total) == (4, 4, 909)

    def test_the_whole_is_the_preset(self) -> None:
        for preset in PRESETS.values():
            assert preset.scaled(1) == preset

    @pytest.mark.parametrize("prevalence", [0.2, 0.35])
    def test_another_prevalence_of_unseen_lines_leaves_training_lines_alone(
        self, tiny: World, bank: MotifBank, prevalence: float
    ) -> None:
        other = simulate(replace(TINY, unseen_prevalence=prevalence), "both", 3, bank=bank)
        unseen = [world.pairs["split"] == "test" for world in (other, tiny)]
        assert (other.pairs[unseen[0]].groupby("cell_line")["label"].sum() == round(200 * prevalence)).all()
        pd.testing.assert_frame_equal(other.pairs[~unseen[0]], tiny.pairs[~unseen[1]])

    def test_a_prevalence_of_unseen_lines_alone(self, bank: MotifBank) -> None:
        """Held-out loci stay, and training lines are those of the preset."""
        natural = simulate(PRESETS["tiny"], "label", 0, bank=bank)
        simulated = simulate(replace(PRESETS["tiny"], unseen_prevalence=0.5), "label", 0, bank=bank)
        training = [world.pairs["split"] != "test" for world in (natural, simulated)]
        pd.testing.assert_frame_equal(natural.pairs[training[0]], simulated.pairs[training[1]])
        lines = simulated.environments
        unseen = lines["role"] == "unseen"
        assert (lines.loc[~unseen, "prevalence_shift"] == 0).all()
        assert (lines.loc[unseen, "share_positive"] - 0.5).abs().max() <= 0.5 / 200


class TestTruth:
    def test_the_log_odds_are_those_of_the_stated_impedance(self, world: World) -> None:
        lines = lines_of_pairs(world)
        if world.world == RERANK:
            impedance = sum(world.pairs[f"exposure_{k}"] * lines[f"impedance_{k}"] for k in (1, 2))
            np.testing.assert_allclose(impedance, world.pairs["impedance"], atol=1e-12)
        else:
            impedance = lines["impedance"]
        np.testing.assert_allclose((world.pairs["potential"] - impedance) / lines["temperature"], world.pairs["logit"])
        assert (world.environments.filter(like="impedance") >= 0).all(axis=None)

    def test_parts_of_the_impedance_add_up(self, tenth: dict[str, World]) -> None:
        for name in WORLDS:
            lines, config = tenth[name].environments, tenth[name].config
            parts = lines["label_shift"] + lines["concept_shift"] + lines["prevalence_shift"]
            np.testing.assert_allclose(config.temperature * config.impedance_mean + parts, lines["impedance"])

    def test_labels_follow_the_log_odds(self, world: World) -> None:
        """In bins of the stated probability, and summed over each cell line, within what chance leaves."""
        pairs = world.pairs.assign(variance=world.pairs["probability"] * (1 - world.pairs["probability"]))
        bins = pd.cut(pairs["probability"], np.linspace(0, 1, 11).tolist())
        for split, part in pairs.groupby(pairs["split"] == "test"):
            for table in (part.groupby(bins, observed=True), part.groupby("cell_line")):
                sums = table[["label", "probability", "variance"]].sum()
                z = (sums["label"] - sums["probability"]) / np.sqrt(sums["variance"])
                assert z.abs().max() < 4, split

    def test_em_with_the_true_scores_of_the_cell_line_finds_the_prevalence(self, world: World) -> None:
        """What the selection does is a label shift: class-conditionals of the candidates stay."""
        shift = lines_of_pairs(world)["prevalence_shift"] / world.config.temperature
        natural = expit(world.pairs["logit"] + shift)
        for _, line in world.environments.iterrows():
            here = (world.pairs["cell_line"] == line["cell_line"]).to_numpy()
            before = expit(logit(line["share_positive"]) + line["prevalence_shift"] / world.config.temperature)
            assert em_prior(natural[here], float(before)) == pytest.approx(line["share_positive"], abs=0.03)

    def test_in_the_label_world_one_reference_serves_all(self, tenth: dict[str, World]) -> None:
        simulated = tenth["label"]
        reference = expit(simulated.pairs["potential"] / simulated.config.temperature - simulated.config.impedance_mean)
        for role, prevalence in (("train", 0.2), ("test", 0.5)):
            here = (simulated.pairs["split"] == "test") == (role == "test")
            assert em_prior(reference[here], simulated.prior) == pytest.approx(prevalence, abs=0.02)

    def test_the_concept_part_stays(self, tenth: dict[str, World]) -> None:
        """Impedances of one role are equal where all of the shift was the prevalence, and spread in `concept`."""
        spread = {name: tenth[name].environments.groupby("role")["impedance"].std().max() for name in WORLDS}
        assert spread["label"] < 0.1 < 0.25 < spread["concept"]

    def test_the_files_say_the_same(self, tiny: World, folders: dict[str, Path]) -> None:
        for folder in folders.values():
            truth = load_truth(folder / "truth")
            given = dataset(folders["tidy"]).pairs
            check_truth(given, truth)
            np.testing.assert_array_equal(true_logit(given, truth), tiny.pairs["logit"])
            np.testing.assert_allclose(truth.environments["impedance"], tiny.environments["impedance"])
            parameters = json.loads((folder / "truth" / "world.json").read_text())["parameters"]
            assert (parameters["training_prevalence"], parameters["unseen_prevalence"]) == (0.2, 0.5)
            assert parameters["shared_loci"] == 0.5 and "val" not in parameters

    def test_worlds_without_a_selection_have_no_parameters_of_one(self, bank: MotifBank, tmp_path: Path) -> None:
        simulated = simulate(PRESETS["tiny"], "both", 0, bank=bank)
        write_tidy(simulated, tmp_path / "world")
        parameters = json.loads((tmp_path / "world" / "truth" / "world.json").read_text())["parameters"]
        assert not {"training_prevalence", "unseen_prevalence", "shared_loci", "val_share"} & set(parameters)
        assert parameters["train"] == {"chromosomes": 3, "loci": 32, "pairs": [200, 300]}
        assert "prevalence_shift" not in simulated.environments


class TestSharedLoci:
    @pytest.mark.parametrize(("share", "own", "in_common"), [(0.0, 32, 0), (0.25, 24, 8), (0.5, 16, 16), (1.0, 0, 32)])
    def test_loci_are_shared_as_asked(self, bank: MotifBank, share: float, own: int, in_common: int) -> None:
        simulated = simulate(replace(TINY, shared_loci=share), "both", 1, bank=bank)
        assert loci(simulated, "train") == set(range(32))
        unseen = loci(simulated, "unseen")
        assert (len(unseen - set(range(32))), len(unseen & set(range(32)))) == (own, in_common)
        assert simulated.universe.elements["locus"].nunique() == 32 + own
        pairs = simulated.pairs[simulated.pairs["split"] == "test"]
        known = simulated.universe.elements["locus"].to_numpy()[pairs["enhancer"]] < 32
        assert known.mean() == pytest.approx(share, abs=0.1)

    def test_the_auditor_finds_them_and_nothing_else(self, tiny: World, folders: dict[str, Path]) -> None:
        data = dataset(folders["tidy"])
        auditor = LeakageAuditor(data)
        test = (data.pairs["split"] == "test").to_numpy()
        in_common = tiny.universe.elements["locus"].to_numpy()[tiny.pairs["enhancer"]] < 32
        elsewhere = auditor.audit(~test, test & ~in_common)
        assert elsewhere.rows_b > 500
        assert elsewhere.enhancer.rows == elsewhere.promoter.rows == elsewhere.pair.rows == elsewhere.locus.rows == 0
        here = auditor.audit(~test, test & in_common)
        assert here.promoter.share > 0.8 and here.enhancer.share > 0.4 and 0.02 < here.pair.share < 0.4

    def test_no_locus_in_common(self, bank: MotifBank, tmp_path: Path) -> None:
        write_tidy(simulate(replace(TINY, shared_loci=0.0), "both", 3, bank=bank), tmp_path / "world")
        data = dataset(tmp_path / "world")
        test = (data.pairs["split"] == "test").to_numpy()
        found = LeakageAuditor(data).audit(~test, test)
        assert found.enhancer.rows == found.promoter.rows == found.pair.rows == found.locus.rows == 0

    def test_val_is_a_random_tenth_of_the_training_pairs(self, tiny: World) -> None:
        val, train = (tiny.pairs[tiny.pairs["split"] == split] for split in ("val", "train"))
        assert val.groupby("cell_line")["label"].agg(["sum", "size"]).to_numpy().tolist() == [[4, 18]] * 5
        assert val["promoter"].isin(train["promoter"]).mean() > 0.8

    def test_a_split_at_random_by_hand(self) -> None:
        label = np.array([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1])
        drawn = split_at_random(label, 1 / 3, np.random.default_rng(0))
        assert drawn[label == 1].sum() == 1 and drawn[label == 0].sum() == 3


class TestBytes:
    def test_same_seed_same_bytes(self, tiny: World, folders: dict[str, Path], tmp_path: Path) -> None:
        again = simulate(TINY, "both", 3, bank=tiny.bank)
        write_tidy(again, tmp_path / "tidy")
        write_domain_kl(again, tmp_path / "domain-kl")
        for name, folder in folders.items():
            files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
            assert files
            for file in files:
                assert (tmp_path / name / file).read_bytes() == (folder / file).read_bytes()

    def test_both_formats_are_the_same_world(self, folders: dict[str, Path]) -> None:
        a, b = dataset(folders["tidy"]), assemble(read_pairs(folders["domain-kl"]), None, WHOLE)
        key = ["cell_line", "split", "enhancer_name", "promoter_name"]
        left, right = (d.pairs.sort_values(key).reset_index(drop=True)[[*key, "label", "mirrored"]] for d in (a, b))
        pd.testing.assert_frame_equal(left, right)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"val": SetConfig(1, 4, (9, 9))}, "needed one of the two"),
            ({"val_share": None}, "val None and val_share None: needed one of the two"),
            ({"val_share": None, "val": SetConfig(1, 4, (9, 9))}, "training_prevalence 0.2: needed val_share in place"),
            ({"unseen_prevalence": 0.0}, "unseen_prevalence 0.0: needed a number from 1e-06"),
            ({"training_prevalence": 1}, "training_prevalence 1: needed a number"),
            ({"unseen_prevalence": 0.001}, "unseen_prevalence 0.001: 200 pairs of a cell line would have 0 positives"),
            ({"training_prevalence": 0.999}, "training_prevalence 0.999: 180 pairs .* would have 180 positives"),
            ({"shared_loci": 1.5}, "shared_loci 1.5: needed a number from 0 to 1"),
            (
                {"shared_loci": 0.9, "test": SetConfig(1, 64, (200, 200))},
                "shared_loci 0.9: 58 of 64 test loci; needed at most the 32 of train",
            ),
            ({"train": SetConfig(2, 32, (180, 180), total=905)}, "total 905: needed 5 cell lines of"),
        ],
    )
    def test_impossible_config(self, change: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            replace(TINY, **change)

    def test_a_total_of_held_out_loci(self) -> None:
        with pytest.raises(ConfigError, match="total 640: needed in train or test, not in val"):
            replace(PRESETS["tiny"], val=SetConfig(1, 12, (60, 100), total=640))

    @pytest.mark.parametrize("factor", [0.0, 0.009, 1.1, -1.0, float("nan")])
    def test_scales(self, factor: float) -> None:
        with pytest.raises(ConfigError, match=f"scale {factor}: needed a number from 0.01 to 1"):
            TINY.scaled(factor)

    def test_too_few_positives(self, bank: MotifBank) -> None:
        many: WorldConfig = replace(TINY, test=SetConfig(1, 4, (1000, 1000)))
        with pytest.raises(ConfigError, match=r"positives and .* that needs 500 and 500 \(prevalence 0.5\); give them"):
            simulate(many, "both", 0, bank=bank)

    def test_a_prevalence_that_no_impedance_can_make(self, bank: MotifBank) -> None:
        high = replace(TINY, unseen_prevalence=0.95)
        with pytest.raises(ConfigError, match=r"unseen_prevalence 0.95: the impedance of unseen0\d would be -"):
            simulate(high, "label", 0, bank=bank)


class TestCommand:
    @staticmethod
    def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
        args: argparse.Namespace = build_parser().parse_args(["simulate", *words, "--json"])
        assert args.run(args) == 0
        content: dict = json.loads(capsys.readouterr().out)
        return content

    def test_scale_prevalence_and_loci(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "w"
        options = ("--preset", "domain-kl-shift", "--format", "domain-kl", "--scale", "0.02", "--shared-loci", "1")
        content = self.run(capsys, "--out", str(out), *options, "--unseen-prevalence", "0.2")
        assert (content["scale"], content["unseen_prevalence"], content["shared_loci"]) == (0.02, 0.2, 1.0)
        # A fiftieth: 1,819 training pairs and 8 x 607; 182 of them on loci of the training lines.
        assert (content["training_cell_lines"], content["unseen_cell_lines"]) == (5, 8)
        assert content["pairs"] == 1_819 + 8 * 607
        tables = {path.parent.name: pd.read_csv(path) for path in sorted((out / "test").rglob("pairs_hg19.csv"))}
        assert [int(table["label"].sum()) for table in tables.values()] == [round(0.2 * 607)] * 8
        training = pd.concat(pd.read_csv(out / split / "ALL" / "pairs_hg19.csv") for split in ("train", "val"))
        chromosomes = {name.split(":")[0] for name in training["enhancer_name"]}
        for table in tables.values():
            assert {name.split(":")[0] for name in table["enhancer_name"]} <= chromosomes

    def test_the_preset_is_what_the_library_writes(
        self, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(capsys, "--out", str(tmp_path / "w"), "--preset", "tiny-shift", "--seed", "3")
        for name in ("pairs.tsv", "genome.fa", "truth/environments.tsv"):
            assert (tmp_path / "w" / name).read_bytes() == (folders["tidy"] / name).read_bytes()

    @pytest.mark.parametrize("option", ["--scale=nan", "--unseen-prevalence=-1", "--shared-loci=2"])
    def test_values_outside_their_bounds(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
        with pytest.raises(SystemExit):
            build_parser().parse_args(["simulate", "--out", str(tmp_path / "w"), "--preset", "tiny-shift", option])
        name, value = option.split("=")
        said = capsys.readouterr().err
        assert f"argument {name}: needed a number of" in said and f"got {value!r}" in said
