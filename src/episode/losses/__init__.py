"""Loss terms: pure functions that refuse wrong input; their docstrings name what they make more real."""
