"""Work shared out over threads: the same results, in order, as if it were not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from episode.threads import in_threads, torch_threads


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    with torch_threads(request.param):
        yield request.param


def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    barrier = threading.Barrier(threads, timeout=30)  # passed only where so many work at once

    def work(item: int) -> tuple[int, int]:
        barrier.wait()
        return item, threading.get_ident()

    found = in_threads(work, range(12))
    assert [item for item, _ in found] == list(range(12))
    others = {thread for _, thread in found}
    assert len(others) == threads and (threading.get_ident() in others) == (threads == 1)


def test_operations_are_not_divided_and_record_no_gradient(threads: int) -> None:
    weight = torch.ones(3, requires_grad=True)

    def work(item: int) -> tuple[int, bool]:
        return torch.get_num_threads(), (weight * item).requires_grad

    assert in_threads(work, range(5)) == [(1, False)] * 5
    assert in_threads(work, [7]) == [(1, False)]
    assert in_threads(work, []) == []
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()


def test_products_of_matrices_are_the_same_bits_for_any_number_of_threads() -> None:
    matrix = torch.rand(700, 700, generator=torch.Generator().manual_seed(0)) - 0.5

    def work(item: int) -> torch.Tensor:
        return (matrix[item:] @ matrix).softmax(1).sum(0)

    with torch_threads(1):
        expected = [work(item) for item in range(6)]
    for count in (1, 2, 3):
        with torch_threads(count):
            assert all(map(torch.equal, in_threads(work, range(6)), expected))


def test_what_the_work_raises_comes_through(threads: int) -> None:
    def work(item: int) -> None:
        if item == 2:
            raise KeyError("the third")

    with pytest.raises(KeyError, match="the third"):
        in_threads(work, range(1000))
    assert torch.get_num_threads() == threads


def test_threads_are_those_of_the_block_only() -> None:
    with torch_threads(2):
        with torch_threads(0):
            assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), torch_threads(3):
            raise KeyError
        assert torch.get_num_threads() == 2
