"""Prediction: one impedance for each environment, from its support set; then every pair by the one formula."""
