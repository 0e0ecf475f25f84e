"""What figures.json may hold: lists that are drawn together have one length."""

from __future__ import annotations

from typing import Any

import pytest

from episode.errors import ConfigError
from episode.evaluate.figures import LossSeries, PacingSeries, PotentialHistogram, PrecisionRecall, Reliability
from episode.schema import Model, parse_model

SOUND: list[tuple[type[Model], dict[str, Any]]] = [
    (PrecisionRecall, {"recall": [0.0, 1.0], "precision": [1.0, 0.5], "share": 0.5}),
    (Reliability, {"probability": [0.1], "observed": [0.2], "count": [7]}),
    (LossSeries, {"step": [1.0, 2.0], "value": [0.5, 0.4]}),
    (PacingSeries, {"step": [1.0], "pull": [0.0], "push": [0.0], "ratio": [1.0]}),
    (PotentialHistogram, {"edges": [0.0, 1.0, 2.0], "positive": [1, 2], "negative": [3, 4]}),
]


@pytest.mark.parametrize(("kind", "content"), SOUND, ids=[kind.__name__ for kind, _ in SOUND])
def test_lists_of_other_lengths_are_refused(kind: type[Model], content: dict[str, Any]) -> None:
    parse_model(content, kind, where="figures.json")
    for name, values in content.items():
        if isinstance(values, list):
            with pytest.raises(ConfigError, match=r"needed (lists of one length|one edge more)"):
                parse_model(content | {name: values[:-1]}, kind, where="figures.json")
