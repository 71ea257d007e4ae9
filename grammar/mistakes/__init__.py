"""Mistakes that people make, one function each: what was meant, and how to write it."""
