"""Functions that the language offers without `use`, written in Python: one file per family."""

from etude.compiler.builtins.table import builtin, library_names

__all__ = ["builtin", "library_names"]
