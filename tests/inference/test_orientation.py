"""The mirror rule by hand: which orientations are read, what is averaged, and what mirroring does to padded tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from episode.dna import is_mirrored
from episode.inference.orientation import gather_oriented, mean_orientation, mean_unoriented, mirror, orientations
from small_systems import make_store, reverse_complement


def test_the_upstream_element_is_that_of_the_lower_midpoint() -> None:
    """Promoter downstream, at the same midpoint, upstream, and upstream though it ends behind the enhancer."""
    enhancer, promoter = np.array([[100, 200]] * 4), np.array([[300, 400], [140, 160], [0, 50], [0, 299]])
    assert is_mirrored(*enhancer.T, *promoter.T).tolist() == [False, False, True, True]


def test_a_pair_without_coordinates_is_read_both_ways() -> None:
    pair, mirrored = orientations(np.array([True, False, True]), np.array([True, False, False]))
    assert pair.tolist() == [0, 1, 1, 2, 2]
    assert mirrored.tolist() == [True, False, True, True, False]


def test_the_mean_is_over_what_was_read() -> None:
    assert mean_orientation([3.0]) == 3.0
    assert mean_orientation([np.array([1.0, 2.0]), np.array([3.0, 6.0])]).tolist() == [2, 4]
    oriented = np.array([True, False])
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0])
    assert mean_unoriented(one, other, oriented).tolist() == [1, 4]
    assert mean_unoriented(one[:, None], other[:, None], oriented).tolist() == [[1], [4]]


def test_a_mirrored_element_has_bins_reversed_and_strands_swapped() -> None:
    """Elements of 2 and 1 bins, with padding, two strands, one channel."""
    tokens = torch.tensor([[[1.0, 2], [3, 4], [0, 0]], [[5, 6], [0, 0], [0, 0]]])[..., None]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    both = mirror(tokens, mask, torch.tensor([True, True]))[..., 0]
    assert both.tolist() == [[[4, 3], [2, 1], [0, 0]], [[6, 5], [0, 0], [0, 0]]]
    second = mirror(tokens, mask, torch.tensor([False, True]))[..., 0]
    assert torch.equal(second[0], tokens[0, ..., 0]) and torch.equal(second[1], both[1])


@pytest.mark.parametrize("mirrored", [True, False])
def test_gathered_tokens_are_in_pair_orientation(mirrored: bool) -> None:
    store, element = make_store(), np.arange(20)
    source = reverse_complement(store) if mirrored else store
    tokens, mask = gather_oriented(store, element, np.full(20, mirrored), torch.device("cpu"))
    wanted, inside = source.gather(element)
    assert torch.equal(mask, inside)
    assert torch.equal(tokens[mask], wanted[mask])
