"""Logos: heights of letters, and where they stand."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from episode.explain.logos import LETTER_COLOURS, draw_logo, information


def test_information_is_two_bits_for_one_base_and_none_for_four() -> None:
    heights = information(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(heights, [[2.0, 0.0, 0.0, 0.0], [0.0] * 4, [0.5, 0.5, 0.0, 0.0]])


def test_letters_fill_their_places_the_tallest_on_top() -> None:
    axes = Figure().subplots()
    draw_logo(axes, np.array([[1.0, 0, 0, 3.0], [0, -2.0, 0, 0], [np.nan] * 4]), start=10)
    boxes = [(patch.get_path().get_extents(), patch) for patch in axes.patches]
    assert len(boxes) == 3
    (low, _), (high, top), (hanging, faint) = boxes
    assert (low.y0, low.y1, high.y0, high.y1) == pytest.approx((0, 1, 1, 4))
    assert (hanging.y0, hanging.y1) == pytest.approx((-2, 0))
    assert 10 < low.x0 < low.x1 < 11 < hanging.x0 < hanging.x1 < 12
    assert top.get_facecolor()[:3] == pytest.approx(to_rgb(LETTER_COLOURS["T"]))
    assert faint.get_alpha() == 0.55 and top.get_alpha() == 1.0
    assert axes.get_xlim() == (10, 13)
    assert axes.get_ylim()[0] < -2 and axes.get_ylim()[1] > 4


def test_an_empty_logo_has_room() -> None:
    axes = Figure().subplots()
    draw_logo(axes, np.zeros((3, 4)))
    assert not axes.patches
    assert axes.get_ylim()[1] > axes.get_ylim()[0]
