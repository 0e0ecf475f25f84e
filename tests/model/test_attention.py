"""Attention blocks: rotary positions, padding, order of a set."""

from __future__ import annotations

import math

import pytest
import torch

from episode.model.attention import (
    AnchorPooling,
    CrossBoundaryAttention,
    PooledSetAttention,
    SetAttention,
    rotary,
)
from episode.model.kan import FourierKAN
from known import known


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_rotary_keeps_length_and_is_nothing_at_position_zero() -> None:
    x = torch.randn(2, 3, 5, 8)
    turned = rotary(x, torch.arange(5).expand(2, 5))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    assert not torch.allclose(turned[:, :, 1], x[:, :, 1], atol=1e-3)


def test_rotary_by_hand() -> None:
    """Two channels make one pair with rate 1: position 1 turns it by one radian."""
    turned = rotary(torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[1]]))
    torch.testing.assert_close(turned.flatten(), torch.tensor([0.5403023, 0.8414710]))


def test_channels_turn_with_those_of_the_other_half_the_first_fastest() -> None:
    """Four channels: the first and third turn by 1 a token, the second and fourth by a tenth of it."""
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(1, 2, 3, 4)
    turned = rotary(x, torch.arange(3)[None])
    for head in range(2):
        for place in range(3):
            slow = place / 10
            wanted = [math.cos(place), -math.sin(slow), math.sin(place), math.cos(slow)]
            torch.testing.assert_close(turned[0, head, place], torch.tensor(wanted))


def test_rotary_products_depend_on_the_difference_of_positions_only() -> None:
    query, key = torch.randn(1, 1, 4, 8), torch.randn(1, 1, 6, 8)
    low, high = torch.arange(4)[None], torch.arange(6)[None]

    def products(shift: int) -> torch.Tensor:
        return rotary(query, low + shift) @ rotary(key, high + shift).transpose(-1, -2)

    torch.testing.assert_close(products(0), products(9), atol=1e-4, rtol=1e-4)
    moved = rotary(query, low + 1) @ rotary(key, high).transpose(-1, -2)
    assert not torch.allclose(moved, products(0), atol=1e-2)


def test_cross_boundary_attention_ignores_padding() -> None:
    block = CrossBoundaryAttention(8, 2)
    tokens, partner = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    padded = torch.cat([partner, 100 * torch.randn(3, 2, 8)], dim=1)
    outputs = []
    for keys in (partner, padded):
        count = keys.shape[1]
        position = torch.arange(count).expand(3, count)
        mask = position < 4
        query = block.query_of(tokens, torch.arange(5).expand(3, 5))
        outputs.append(block(query, *block.key_value_of(keys, position), mask))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)


def test_cross_boundary_attention_sees_differences_of_positions_only() -> None:
    block = CrossBoundaryAttention(8, 2)
    tokens, partner = 3 * torch.randn(2, 5, 8), 3 * torch.randn(2, 4, 8)
    mask = torch.ones(2, 4, dtype=torch.bool)

    def read(query_shift: int, key_shift: int) -> torch.Tensor:
        query = block.query_of(tokens, (torch.arange(5) + query_shift).expand(2, 5))
        return block(query, *block.key_value_of(partner, (torch.arange(4) + key_shift).expand(2, 4)), mask)

    torch.testing.assert_close(read(0, 0), read(7, 7), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(read(0, 0), read(0, 7), atol=1e-3)
    assert not torch.allclose(read(0, 0), read(7, 0), atol=1e-3)


def plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The definition: softmax over the real keys of q . k / sqrt(channels), heads side by side."""
    read = torch.zeros_like(query)
    for pair in range(len(query)):
        real = mask[pair].nonzero().flatten()
        for head in range(query.shape[1]):
            product = query[pair, head] @ key[pair, head, real].T / query.shape[-1] ** 0.5
            read[pair, head] = product.softmax(dim=1) @ value[pair, head, real]
    return read.transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("queries", "keys"), [(3, 7), (7, 3), (5, 5), (1, 4), (4, 1)])
def test_cross_boundary_attention_and_its_gradient_are_the_plain_ones(queries: int, keys: int) -> None:
    """Whichever side is longer; with every number of real keys, one included."""
    block = CrossBoundaryAttention(8, 2).double()
    shapes = [(6, 2, count, 4) for count in (queries, keys, keys)]
    query, key, value = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    parts = [query, key, value]
    mask = torch.arange(keys) < torch.randint(1, keys + 1, (6, 1))
    mask[0] = torch.arange(keys) == 0
    got, wanted = block(*parts, mask), block.output(plain_attention(query, key, value, mask))
    torch.testing.assert_close(got, wanted)
    weight = torch.randn_like(got)
    for one, two in zip(
        torch.autograd.grad((got * weight).sum(), parts),
        torch.autograd.grad((wanted * weight).sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_cross_boundary_attention_is_stable_where_scores_are_large() -> None:
    block = CrossBoundaryAttention(8, 2)
    query, key, value = (100 * torch.randn(3, 2, count, 4) for count in (5, 9, 9))
    mask = torch.arange(9).expand(3, 9) < 6
    torch.testing.assert_close(block(query, key, value, mask), block.output(plain_attention(query, key, value, mask)))


def test_anchor_pooling_ignores_padding_and_does_not_care_for_order() -> None:
    pool = AnchorPooling(8, 3)
    tokens = torch.randn(2, 5, 8)
    whole = pool(tokens, torch.ones(2, 5, dtype=torch.bool))
    padded = pool(torch.cat([tokens, 100 * torch.randn(2, 3, 8)], dim=1), torch.arange(8).expand(2, 8) < 5)
    torch.testing.assert_close(whole, padded, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole, pool(tokens.flip(1), torch.ones(2, 5, dtype=torch.bool)), atol=1e-5, rtol=0)
    assert whole.shape == (2, 24)


def test_anchor_pooling_of_one_token_is_that_token() -> None:
    token = torch.randn(1, 1, 8)
    pooled = AnchorPooling(8, 3)(token, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(pooled, token.flatten(1).repeat(1, 3))


def test_a_cold_anchor_takes_the_likest_token() -> None:
    pool = AnchorPooling(2, 1)
    with torch.no_grad():
        pool.anchor.copy_(torch.tensor([[1.0, 0.0]]))
        pool.log_temperature.fill_(-6.0)
    tokens = torch.tensor([[[0.0, 5.0], [2.0, 1.0], [1.0, 0.0]]])
    pooled = pool(tokens, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 1.0]]), atol=1e-4, rtol=0)


def test_set_attention_is_equivariant_and_pooling_invariant() -> None:
    block, pool = SetAttention(8, 2, 3), PooledSetAttention(8, 2)
    items, order = torch.randn(30, 8), torch.randperm(30)
    torch.testing.assert_close(block(items)[order], block(items[order]), atol=1e-5, rtol=0)
    torch.testing.assert_close(pool(items), pool(items[order]), atol=1e-5, rtol=0)
    assert not torch.allclose(pool(items), pool(items[:15]), atol=1e-3)


def test_kan_by_hand() -> None:
    layer = FourierKAN(1, 1, 2)
    with torch.no_grad():
        layer.linear.weight.fill_(0.5)
        layer.linear.bias.fill_(0.25)
        layer.coefficient.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    x = torch.tensor([[0.3]])
    angle = torch.tensor(0.3)
    waves = angle.cos() + 2 * (2 * angle).cos() + 3 * angle.sin() + 4 * (2 * angle).sin()
    torch.testing.assert_close(layer(x).squeeze(), 0.25 + 0.15 + waves)


def test_kan_shape_and_gradient() -> None:
    layer = FourierKAN(3, 2, 4).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert layer(x).shape == (5, 2)
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).sum().backward()
    assert all(bool(known(parameter.grad).abs().max() > 0) for parameter in layer.parameters())
