"""EPIsode: enhancer-promoter interactions from DNA sequence, in cell lines for which nobody has labels.

The package listing is the pipeline: ``data`` -> ``encode`` -> ``inference`` (with ``model``) -> ``episodes`` ->
``train`` (with ``losses``) -> ``checkpoint`` -> ``predict`` -> ``evaluate``, ``compare``, ``explain`` -> ``report``.
``simulate`` makes worlds with known truth, ``metrics`` holds what is measured, ``cli`` one file a command. Importing
the package loads nothing heavy, logs nothing and seeds nothing.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
