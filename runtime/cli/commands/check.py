"""Check recipes: syntax, names, types, units, shapes, data.

Nothing is run and no data is read beyond its description, so a recipe from a stranger can be checked safely.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from etude.runtime.cli import ending, faults
from etude.runtime.cli.options import Adjustments, argument, flag, option
from etude.runtime.cli.recipes import STANDARD_INPUT, compile_recipe_file, compile_recipe_text
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.compiler.diagnostics import Diagnostic
    from etude.compiler.pipeline import Compilation
    from etude.compiler.render.ansi import Paint
    from etude.runtime.cli.fixing import Repair

EXAMPLES = (
    ("etude check recipe.etude", "Say what is wrong with a recipe, if anything is."),
    (
        "etude check recipe.etude --show program --stage teacher",
        "Show the tensor program that a stage was compiled to.",
    ),
    ("etude check recipe.etude --fix --diff", "Show what the safe fixes would change, and write nothing."),
    (
        "etude check *.etude --format sarif > problems.sarif",
        "Check many recipes, for a code host to show the problems.",
    ),
)
VIEWS = ("tree", "types", "weights", "graph", "program", "plan", "source")


class Options(Adjustments):
    files: tuple[Path, ...] = argument("the recipes; - is standard input", metavar="FILE", many=True, parse=Path)
    format: str = option("how problems are printed", choices=("text", "json", "sarif"), default="text")
    fix: bool = flag("apply the fixes that are safe, then check again")
    diff: bool = flag("with --fix: write nothing, print what would change")
    show: str | None = option("print the result of a phase of the compiler", choices=VIEWS)
    stage: str | None = option("the stages that --show is about, by name or glob", metavar="NAME")
    backend: str = option("the backend that --show source prints for", choices=("torch", "jax"), default="torch")

    @property
    def pattern(self) -> str:
        return "*" if self.stage is None else self.stage


def run(options: Options) -> int:
    _refuse_what_says_nothing(options)
    compilations = [compile_recipe_file(path, options) for path in options.files]
    ending.keep(compilations)
    repairs = _repairs(options, compilations)
    if repairs and not options.diff:
        compilations = [each.after for each in repairs]
    found = [diagnostic for each in compilations for diagnostic in each.diagnostics]
    found.sort(key=lambda d: (d.location.source.name, d.location.span.start, d.code))
    _print_problems(options, compilations, found, repairs)
    if any(each.has_errors for each in compilations):
        return faults.recipe_code(found, options.set)
    if options.show and options.format == "text":
        for each in compilations:
            print(_view(options, each, paint_for(sys.stdout)), end="")
    return faults.OK


def _refuse_what_says_nothing(options: Options) -> None:
    """Raise UsageError for options that nothing would read."""
    if options.stage is not None and options.show is None:
        raise faults.UsageError("--stage goes with --show", command="etude check")
    if options.show is not None and options.format == "sarif":
        raise faults.UsageError("SARIF has no place for what --show prints", hint="write --format json")


def _view(options: Options, compilation: Compilation, paint: Paint) -> str:
    from etude.runtime.cli.views import show

    assert options.show is not None
    return show(options.show, compilation, options.pattern, options.backend, paint)


def _repairs(options: Options, compilations: list[Compilation]) -> list[Repair]:
    """What --fix makes of each file; written, unless only the difference is wanted. Raises UsageError."""
    if not options.fix:
        if options.diff:
            raise faults.UsageError("--diff shows what --fix would change", hint="write --fix --diff")
        return []
    if STANDARD_INPUT in options.files and not options.diff:
        raise faults.UsageError("standard input cannot be fixed in place", hint="--fix --diff prints the changes")
    from etude.runtime.cli.fixing import repair
    from etude.runtime.cli.rewriting import rewrite

    repairs = []
    for path, compilation in zip(options.files, compilations, strict=True):
        repaired = repair(compilation, lambda text, path=path: compile_recipe_text(text, path, options))  # type: ignore[misc]
        if repaired.changed and not options.diff:
            rewrite(path, repaired.after.source.text)
        repairs.append(repaired)
    return repairs


def _print_problems(
    options: Options, compilations: list[Compilation], found: list[Diagnostic], repairs: list[Repair]
) -> None:
    if options.format == "json":
        from etude.compiler.render.json import diagnostics_to_json

        made = [each for repaired in repairs for each in repaired.to_json()]
        extra: dict[str, Any] = {"fixed": [] if options.diff else made} if options.fix else {}
        extra |= {"diff": "".join(each.diff() for each in repairs)} if options.diff else {}
        extra |= _shown(options, compilations) if options.show else {}
        print_json({**diagnostics_to_json([str(path) for path in options.files], found), **extra})
    elif options.format == "sarif":
        from etude import __version__
        from etude.compiler.explain import headline
        from etude.compiler.render.sarif import diagnostics_to_sarif

        print_json(diagnostics_to_sarif(found, __version__, headline))
    else:
        for repaired in repairs:
            print(repaired.diff() if options.diff else "".join(f"fixed {line}\n" for line in repaired.lines()), end="")
        _print_text(compilations, found, sys.stderr if options.show or options.diff else sys.stdout)


def _shown(options: Options, compilations: list[Compilation]) -> dict[str, Any]:
    """What --show says: weights as data, else the text of each recipe without errors."""
    from etude.compiler.ownership import to_json
    from etude.compiler.render.ansi import PLAIN
    from etude.runtime.cli.views import View

    if options.show != "weights":
        return {"shown": {each.source.name: _view(options, each, PLAIN) for each in compilations if each.workflow}}
    views = [View(each, options.pattern, options.backend, PLAIN) for each in compilations if each.workflow]
    players = [player for view in views for stage in view.stages() for player in view.players(stage)]
    return {"weights": to_json(players)}


def _print_text(compilations: list[Compilation], found: list[Diagnostic], stream: TextIO) -> None:
    from etude.compiler.render.text import render_text, summarize

    paint = paint_for(stream)
    if found:
        print(render_text(found, paint), file=stream)
    for each in compilations:
        verdict = paint(summarize(each.diagnostics), "bold" if each.diagnostics else "green")
        size = "" if each.workflow is None else f", {len(each.workflow.stages)} stages"
        print(f"{each.source.name}: {verdict}{size}", file=stream)
