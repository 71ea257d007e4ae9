"""Check recipes: syntax, names, types, units, shapes, data.

Nothing is run and no data is read beyond its description, so a recipe from a stranger can be checked safely.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from etude.runtime.cli import faults
from etude.runtime.cli.options import Adjustments, argument, flag, option
from etude.runtime.cli.recipes import compile_recipe_file
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.compiler.diagnostics import Diagnostic
    from etude.compiler.pipeline import Compilation

EXAMPLES = (
    ("etude check recipe.etude", "Say what is wrong with a recipe, if anything is."),
    (
        "etude check recipe.etude --show program --stage teacher",
        "Show the tensor program that a stage was compiled to.",
    ),
    (
        "etude check *.etude --format sarif > problems.sarif",
        "Check many recipes, for a code host to show the problems.",
    ),
)
VIEWS = ("tree", "types", "weights", "graph", "program", "plan", "source")


@dataclass(frozen=True, kw_only=True)
class Options(Adjustments):
    files: tuple[Path, ...] = argument("the recipes; - is standard input", metavar="FILE", many=True, parse=Path)
    format: str = option("how problems are printed", choices=("text", "json", "sarif"), default="text")
    fix: bool = flag("apply the fixes that are safe, then check again")
    show: str | None = option("print the result of a phase of the compiler", choices=VIEWS)
    stage: str = option("the stages that --show is about, by name or glob", metavar="NAME", default="*")
    backend: str = option("the backend that --show source prints for", choices=("torch", "jax"), default="torch")


def run(options: Options) -> int:
    compilations = [compile_recipe_file(path, options) for path in options.files]
    if options.fix:
        compilations = [_fixed(path, each, options) for path, each in zip(options.files, compilations, strict=True)]
    found = [diagnostic for each in compilations for diagnostic in each.diagnostics]
    found.sort(key=lambda d: (d.location.source.name, d.location.span.start, d.code))
    _print_problems(options, compilations, found)
    if any(each.has_errors for each in compilations):
        return faults.WRONG_RECIPE
    if options.show:
        from etude.runtime.cli.views import show

        for each in compilations:
            print(show(options.show, each, options.stage, options.backend, paint_for(sys.stdout)), end="")
    return faults.OK


def _fixed(path: Path, compilation: Compilation, options: Options) -> Compilation:
    """Apply safe fixes to the file until there are none; and the compilation of what it then says."""
    from etude.runtime.cli.fixing import fix_file

    return compile_recipe_file(path, options) if fix_file(path, compilation.diagnostics) else compilation


def _print_problems(options: Options, compilations: list[Compilation], found: list[Diagnostic]) -> None:
    if options.format == "json":
        from etude.compiler.render.json import diagnostics_to_json

        print_json(diagnostics_to_json([str(path) for path in options.files], found))
    elif options.format == "sarif":
        from etude import __version__
        from etude.compiler.explain import headline
        from etude.compiler.render.sarif import diagnostics_to_sarif

        print_json(diagnostics_to_sarif(found, __version__, headline))
    else:
        _print_text(compilations, found, sys.stderr if options.show else sys.stdout)


def _print_text(compilations: list[Compilation], found: list[Diagnostic], stream: TextIO) -> None:
    from etude.compiler.render.text import render_text, summarize

    paint = paint_for(stream)
    if found:
        print(render_text(found, paint), file=stream)
    for each in compilations:
        verdict = paint(summarize(each.diagnostics), "bold" if each.diagnostics else "green")
        size = "" if each.workflow is None else f", {len(each.workflow.stages)} stages"
        print(f"{each.source.name}: {verdict}{size}", file=stream)
