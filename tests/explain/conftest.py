"""One thread for every test here."""

from builders import one_thread

__all__ = ["one_thread"]
