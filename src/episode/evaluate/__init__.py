"""Evaluation of one run: its predictions against labels, as numbers and as the curves of a report."""
