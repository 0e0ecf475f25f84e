"""From pairs to U_I, shared by training and prediction: orientation, encoded elements, scores, support sets."""
