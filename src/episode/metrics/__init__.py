"""Numbers of scores and labels: ranking, calibration, intervals by block bootstrap, label shift."""
