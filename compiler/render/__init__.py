"""Diagnostics as people and programs read them: text with carets, JSON, SARIF."""
