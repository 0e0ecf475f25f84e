"""Sites that stand by chance are found, all of them, and taken out."""

import numpy as np
import pytest

from episode.errors import ConfigError
from episode.simulate.chance_sites import ChanceSites


def slow_find(dna: np.ndarray, matrices: list[np.ndarray], least: list[float]) -> set[tuple[int, int]]:
    found = set()
    for motif, matrix in enumerate(matrices):
        for strand, bits in enumerate((matrix, matrix[::-1, ::-1])):
            for start in range(len(dna) - len(bits) + 1):
                score = sum(bits[k, dna[start + k]] for k in range(len(bits)))
                if score >= least[motif] - 1e-9:
                    found.add((2 * motif + strand, start))
    return found


@pytest.fixture
def matrices() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=(width, 4)) for width in (6, 9, 14)]


LEAST = [3.0, 5.0, 6.5]
NAMES = ["A", "B", "C"]


class TestFinding:
    def test_all_and_no_others(self, matrices: list[np.ndarray]) -> None:
        dna = np.random.default_rng(6).integers(0, 4, 3000).astype(np.uint8)
        found = ChanceSites(matrices, LEAST, NAMES).find(dna)
        assert len(found) == len(set(found)) > 50
        assert set(found) == slow_find(dna, matrices, LEAST)

    def test_near_some_bases(self, matrices: list[np.ndarray]) -> None:
        dna = np.random.default_rng(7).integers(0, 4, 2000).astype(np.uint8)
        chance = ChanceSites(matrices, LEAST, NAMES)
        near = np.array([0, 999, 1999])
        holding = {
            (k, at) for k, at in chance.find(dna) if any(at <= place < at + len(matrices[k // 2]) for place in near)
        }
        assert holding <= set(chance.find(dna, near)) <= set(chance.find(dna))

    @pytest.mark.parametrize("length", [0, 5, 6])
    def test_short_stretches(self, matrices: list[np.ndarray], length: int) -> None:
        dna = np.zeros(length, dtype=np.uint8)
        assert set(ChanceSites(matrices, LEAST, NAMES).find(dna)) == slow_find(dna, matrices, LEAST)

    def test_too_many_motifs(self) -> None:
        with pytest.raises(ValueError, match="33 motifs: at most 32"):
            ChanceSites([np.zeros((8, 4))] * 33, [1.0] * 33, ["A"] * 33)


class TestRemoving:
    def test_only_what_is_planted_is_left(self, matrices: list[np.ndarray]) -> None:
        rng = np.random.default_rng(8)
        dna = rng.integers(0, 4, 3000).astype(np.uint8)
        dna[100:114] = matrices[2].argmax(axis=1)
        planted = np.zeros(3000, dtype=bool)
        planted[100:114] = True
        before = dna.copy()
        chance = ChanceSites(matrices, LEAST, NAMES)
        chance.remove(dna, planted, rng)
        np.testing.assert_array_equal(dna[planted], before[planted])
        left = slow_find(dna, matrices, LEAST)
        assert (4, 100) in left
        for k, at in left:
            matrix = matrices[k // 2] if k % 2 == 0 else matrices[k // 2][::-1, ::-1]
            free = ~planted[at : at + len(matrix)]
            worst = matrix.argmin(axis=1)
            assert (dna[at : at + len(matrix)][free] == worst[free]).all()

    @pytest.mark.parametrize(
        ("matrix", "least"),
        [([[1.0, 1.0, 0.0, 0.0]] * 8, 4.0), ([[1.0, 0.0, 0.0, 0.0]] * 8, -1.0)],
        ids=["one strand has it or the other", "any DNA has it"],
    )
    def test_what_cannot_be_taken_out_is_an_error(self, matrix: list[list[float]], least: float) -> None:
        dna = np.random.default_rng(9).integers(0, 4, 50).astype(np.uint8)
        chance = ChanceSites([np.array(matrix)], [least], ["MYC"])
        with pytest.raises(ConfigError, match=r"chance_sites = False: [0-9]+ chance sites of MYC are left in 50 bp"):
            chance.remove(dna, np.zeros(50, dtype=bool), np.random.default_rng(10))

    def test_what_planted_bases_alone_make_is_not_left(self) -> None:
        """One strand has this motif or the other, here with planted bases only."""
        matrix = np.array([[1.0, 1.0, 0.0, 0.0]] * 8)
        dna = np.random.default_rng(9).integers(0, 4, 50).astype(np.uint8)
        before = dna.copy()
        ChanceSites([matrix], [4.0], ["MYC"]).remove(dna, np.ones(50, dtype=bool), np.random.default_rng(10))
        np.testing.assert_array_equal(dna, before)
