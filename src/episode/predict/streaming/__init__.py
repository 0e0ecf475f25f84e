"""Prediction of tables of any size: blocks of pairs, one job folder that can be resumed, Ray."""
