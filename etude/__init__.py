"""Etude: a statically checked language for training workflows."""

__version__ = "0.1.0"
