"""Pairs and DNA: readers, validation, the dataset and its folder, splits and leakage."""
