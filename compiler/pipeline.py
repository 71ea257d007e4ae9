"""The order of phases, from text to a graph of stages: the only file that knows it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from etude.compiler.checks.leakage import check_leakage
from etude.compiler.checks.names import check_names
from etude.compiler.checks.prefixes import check_prefixes
from etude.compiler.diagnostics import Diagnostic, Diagnostics, RecipeError, Source
from etude.compiler.modules import syntax_diagnostic
from etude.compiler.schema import SourceSchema
from etude.compiler.toplevel import Recipe
from etude.compiler.workflow import Workflow
from etude.grammar import nodes
from etude.grammar.recovery import parse_all

MAX_FRAMES = 5000
"""Of Python, for what is nested as deep as a recipe may."""
CHECKS = (check_names,)
GRAPH_CHECKS = (check_leakage, check_prefixes)
DescribeSource = Callable[[str, Mapping[str, Any]], SourceSchema]


class Compilation(Struct):
    """What compiling a recipe gave. `workflow` is None when there are errors."""

    source: Source
    diagnostics: list[Diagnostic]
    program: nodes.Program | None = None
    workflow: Workflow | None = None
    recipe: Recipe | None = None

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self.diagnostics)


def compile_recipe(
    text: str,
    *,
    name: str = "recipe.etude",
    describe_source: DescribeSource,
    read_module: Callable[[str], str],
    overrides: Mapping[str, str] | None = None,
    seed: int = 0,
    max_stages: int = 100_000,
    allowed: frozenset[str] = frozenset(),
) -> Compilation:
    """Parse, check, evaluate and lower a recipe. Faults of the recipe come back as diagnostics, never as exceptions.

    `describe_source(uri, options)` says what a source holds; it raises LookupError when it cannot, with the
    message, a hint, and the option that is to blame, or None.
    `allowed` is what of other people's code it may name: "external", "plugin:NAME".
    `read_module(path)` gives the text of a file that a recipe uses; it raises OSError or UnicodeDecodeError.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), MAX_FRAMES))
    collects = gc.isenabled()
    gc.disable()  # trees and graphs have few cycles, and what an expansion makes is bounded: a tenth of the time
    try:
        return _compiled(Source(name, text), describe_source, read_module, overrides or {}, seed, max_stages, allowed)
    finally:
        if collects:
            gc.enable()


def _compiled(
    source: Source,
    describe_source: DescribeSource,
    read_module: Callable[[str], str],
    overrides: Mapping[str, str],
    seed: int,
    max_stages: int,
    allowed: frozenset[str],
) -> Compilation:
    text = source.text
    parsed = parse_all(text)
    found = Diagnostics([syntax_diagnostic(source, fault) for fault in parsed.faults])
    found.items += [syntax_diagnostic(source, warning) for warning in parsed.warnings]
    if parsed.faults:
        return Compilation(source, list(found.sorted()), parsed.program)
    program = parsed.program
    recipe = Recipe(source, program, describe_source, read_module, overrides or {}, seed, max_stages, found, allowed)
    for check in CHECKS:
        for diagnostic in check(program, recipe.scope):
            found.add(diagnostic)
            if found.is_full:
                break
    recipe.evaluate()
    for graph_check in () if found.has_errors else GRAPH_CHECKS:
        for diagnostic in graph_check(recipe.session):
            found.add(diagnostic)
    workflow = None if found.has_errors else recipe.workflow()
    return Compilation(source, list(found.sorted()), program, workflow, recipe)


__all__ = ["Compilation", "RecipeError", "compile_recipe"]
