"""Which parts each loss may move."""

from __future__ import annotations

__all__ = ["ALLOWED", "MOVED"]

ENVIRONMENT = {"set_encoder", "student"}
ALLOWED = {
    "task": {"backbone", "temperature", "set_encoder", "student", "teacher", "exposure"},
    "potential": {"backbone"},
    "motif_sparsity": {"backbone"},
    "distillation": ENVIRONMENT,
    "pull_in": ENVIRONMENT,
    "sparsity": ENVIRONMENT | {"teacher"},
    "orthogonality": ENVIRONMENT | {"teacher"},
    "opportunist": {"opportunist"},
    "push_away": {"set_encoder"},
}
"""The design's table, written out here a second time on purpose."""
MOVED = ALLOWED | {"orthogonality": {"set_encoder"}, "task": ALLOWED["task"] - {"exposure"}}
"""What a loss really moves while the Backbone learns: h_c alone carries the orthogonality, the exposure is held."""
