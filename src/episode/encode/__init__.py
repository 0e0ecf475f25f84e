"""DNA to numbers: the bank of known motifs, scanning, and the store of tokens."""
