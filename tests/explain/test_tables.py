"""Rankings of motifs by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from episode.explain.tables import motif_pair_table, motif_table


def test_a_motif_is_credited_with_its_own_channel_and_the_gate_is_one_motif() -> None:
    sites = pd.DataFrame(
        {
            "element": ["enhancer"] * 5,
            "motif_id": ["A.1", "A.1", "MA1929.1", "MA0139.1", "K.1"],
            "motif": ["A", "A", "CTCF", "CTCF", "K"],
            "gate": [False, False, True, True, False],
            "effect": [5.0, 0.5, 2.0, -1.0, 0.25],
            "channel_effect": [0.1, -0.5, 2.0, -1.0, np.nan],
            "gradient": [0.0, 0.2, 1.0, 3.0, np.nan],
        }
    )
    found = motif_table(sites, 4)
    assert found["motif_id"].tolist() == ["gate", "A.1", "K.1"]
    assert found["sites"].tolist() == [2, 2, 1]
    assert found["per_pair"].tolist() == pytest.approx([3 / 4, 0.6 / 4, 0.25 / 4])
    assert found["mean_own_effect"].tolist() == pytest.approx([0.5, -0.2, 0.25])
    assert found["mean_gradient"].tolist() == pytest.approx([2.0, 0.1, np.nan], nan_ok=True)


def test_motif_pairs_are_ranked_by_the_size_of_their_interactions() -> None:
    joint = pd.DataFrame(
        {
            "enhancer_motif_id": ["A.1", "A.1", "C.1", "C.2"],
            "enhancer_motif": ["A", "A", "CTCF", "CTCF"],
            "enhancer_gate": [False, False, True, True],
            "promoter_motif_id": ["B.1"] * 4,
            "promoter_motif": ["B"] * 4,
            "promoter_gate": [False] * 4,
            "interaction": [1.0, -1.0, 0.25, 0.75],
        }
    )
    found = motif_pair_table(joint, 2)
    assert found["enhancer_motif_id"].tolist() == ["A.1", "gate"]
    assert found["mean_interaction"].tolist() == [0.0, 0.5]
    assert found["mean_size_of_interaction"].tolist() == [1.0, 0.5]
    assert found["per_pair"].tolist() == [1.0, 0.5]
