"""Training: who may move what, one step, the loop, the final calibration."""
