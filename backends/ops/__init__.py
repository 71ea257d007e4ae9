"""The tensor operations: one row each, in one file per family. Importing this imports no framework."""

from etude.backends.ops.table import OperandError, Operation, Parameter, find, names

__all__ = ["OperandError", "Operation", "Parameter", "find", "names"]
