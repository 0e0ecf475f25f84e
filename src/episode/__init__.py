"""EPIsode: enhancer-promoter interactions from DNA sequence, in cell lines for which nobody has labels.

The package listing is the pipeline: ``data`` -> ``encode`` -> ``episodes`` -> ``model`` -> ``losses`` -> ``train`` ->
``checkpoint`` -> ``predict`` -> ``evaluate`` -> ``report``; ``cli`` holds one file a command. Importing the package
loads nothing heavy, logs nothing and seeds nothing.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
