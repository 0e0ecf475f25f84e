"""Places of training: overlap by a base on the same chromosome, sequences where nothing is placed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from episode.data.places import Places


def elements(rows: list[tuple[str, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end"]).astype({"start": "int64", "end": "int64"})


def digests(count: int, first: int = 0) -> list[bytes]:
    return [f"{number:032x}".encode() for number in range(first, first + count)]


def test_overlap_takes_a_base_on_the_same_chromosome() -> None:
    places = Places.of(elements([("chr2", 100, 200), ("chr1", 150, 250), ("chr1", 240, 300)]), digests(3))
    assert (places.chromosomes, places.start.tolist(), places.end.tolist()) == (
        ("chr1", "chr2"),
        [150, 100],
        [300, 200],
    )
    asked = elements([("chr1", 299, 400), ("chr1", 300, 400), ("chr1", 100, 150), ("chr2", 0, 101), ("chr3", 100, 200)])
    assert places.overlap(asked, digests(5)).tolist() == [True, False, False, True, False]


def test_elements_without_coordinates_go_by_their_sequence() -> None:
    places = Places.of(elements([("", -1, -1), ("chr1", 0, 10)]), digests(2))
    asked = elements([("", -1, -1), ("", -1, -1), ("chr9", 5, 6)])
    assert places.overlap(asked, [*digests(2), digests(1)[0]]).tolist() == [True, False, False]
    nothing = Places.of(elements([]), [])
    assert not nothing.overlap(asked, digests(3)).any()


interval = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 40), st.integers(1, 15)).map(
    lambda found: (found[0], found[1], found[1] + found[2])
)


@given(st.lists(interval, max_size=12), st.lists(interval, min_size=1, max_size=12))
def test_overlap_is_that_of_every_interval_with_every_other(known: list, asked: list) -> None:
    found = Places.of(elements(known), digests(len(known))).overlap(elements(asked), digests(len(asked), 100))
    wanted = [any(c == d and s < f and t < e for d, t, f in known) for c, s, e in asked]
    assert found.tolist() == wanted
    assert np.array_equal(
        found, Places.of(elements(known[::-1]), digests(len(known))).overlap(elements(asked), digests(len(asked), 100))
    )
