"""Episodes: what one environment's support and query sets are, in training as in prediction."""
