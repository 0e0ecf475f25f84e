"""Comparison: protocols and folds, methods that fill a table, the jobs that run them, `results.json`."""
