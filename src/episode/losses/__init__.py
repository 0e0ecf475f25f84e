"""Loss terms: pure functions that refuse wrong input and say what they make more real."""
