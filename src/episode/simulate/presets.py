"""Ready-made sizes of simulated worlds.

This module does NOT know how a world is drawn.
"""

from __future__ import annotations

from episode.simulate.config import SetConfig, WorldConfig

__all__ = ["PRESETS"]

PRESETS = {
    "tiny": WorldConfig(
        train=SetConfig(chromosomes=3, loci=32, pairs=(200, 300)),
        val=SetConfig(chromosomes=1, loci=12, pairs=(60, 100)),
        test=SetConfig(chromosomes=2, loci=32, pairs=(200, 300)),
        training_lines=8,
        unseen_lines=4,
        enhancer_length=400,
        promoter_length=600,
        enhancers_per_locus=(8, 16),
        promoters_per_locus=(6, 12),
    ),
    "demo": WorldConfig(
        train=SetConfig(chromosomes=12, loci=300, pairs=(1000, 2800)),
        val=SetConfig(chromosomes=4, loci=100, pairs=(400, 700)),
        test=SetConfig(chromosomes=8, loci=200, pairs=(900, 2500)),
        training_lines=32,
        unseen_lines=16,
        enhancer_length=600,
        promoter_length=1200,
        enhancers_per_locus=(10, 30),
        promoters_per_locus=(6, 14),
    ),
    "domain-kl": WorldConfig(
        train=SetConfig(chromosomes=12, loci=300, pairs=(28000, 32000)),
        val=SetConfig(chromosomes=4, loci=75, pairs=(2500, 3500)),
        test=SetConfig(chromosomes=12, loci=300, pairs=(28000, 32000)),
        training_lines=8,
        unseen_lines=8,
        enhancer_length=1000,
        promoter_length=4000,
        enhancers_per_locus=(40, 90),
        promoters_per_locus=(14, 34),
        chance_sites=False,
    ),
    "domain-kl-shift": WorldConfig(
        train=SetConfig(chromosomes=12, loci=400, pairs=(18_187, 18_188), total=90_937),
        val=None,
        val_share=0.1,
        test=SetConfig(chromosomes=12, loci=400, pairs=(30_336, 30_336)),
        training_lines=5,
        unseen_lines=8,
        training_prevalence=0.2,
        unseen_prevalence=0.5,
        shared_loci=0.5,
        enhancer_length=1000,
        promoter_length=4000,
        enhancers_per_locus=(40, 90),
        promoters_per_locus=(14, 34),
        chance_sites=False,
    ),
    "tiny-shift": WorldConfig(
        train=SetConfig(chromosomes=2, loci=32, pairs=(180, 180)),
        val=None,
        val_share=0.1,
        test=SetConfig(chromosomes=2, loci=32, pairs=(200, 200)),
        training_lines=5,
        unseen_lines=8,
        training_prevalence=0.2,
        unseen_prevalence=0.5,
        shared_loci=0.5,
        enhancer_length=400,
        promoter_length=600,
        enhancers_per_locus=(8, 16),
        promoters_per_locus=(6, 12),
    ),
}
"""Ready-made sizes by name."""
