"""For the type checker: a value that a test knows to be there."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["known"]

Value = TypeVar("Value")


def known(value: Value | None) -> Value:
    """The value; None fails the test."""
    assert value is not None
    return value
