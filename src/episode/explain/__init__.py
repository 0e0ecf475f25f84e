"""Explanation: which motif, where, on which element, moves U_I of a pair."""
