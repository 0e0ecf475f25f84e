"""What was really scanned."""

from __future__ import annotations

import pytest

from episode.encode import store as store_module


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of elements in each call of the scanner."""
    calls: list[int] = []

    class Counting(store_module.Scanner):
        def __call__(self, elements, place=None):  # type: ignore[no-untyped-def]
            calls.append(len(elements))
            return super().__call__(elements, place)

    monkeypatch.setattr(store_module, "Scanner", Counting)
    return calls
