"""Format recipes in place, comments kept.

A file is left alone when formatting would lose a comment or change what it says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument, flag
from etude.runtime.cli.recipes import STANDARD_INPUT, read_recipe
from etude.runtime.cli.rewriting import rewrite

EXAMPLES = (
    ("etude fmt recipe.etude", "Format one recipe in place."),
    ("etude fmt --check recipes/*.etude", "Only say which recipes are not formatted; exit code 1 if there are any."),
)


class Options(OptionSet):
    files: tuple[Path, ...] = argument(
        "the recipes; - formats standard input to standard output", metavar="FILE", many=True, parse=Path
    )
    check: bool = flag("write nothing, only say what is not formatted")


def run(options: Options) -> int:
    changed = [path for path in options.files if not _is_formatted(path, options)]
    return faults.WRONG_RECIPE if changed and options.check else faults.OK


def _is_formatted(path: Path, options: Options) -> bool:
    """Format one file, or only look; whether it was formatted already."""
    text = read_recipe(path)
    formatted = _formatted(path, text)
    if path == STANDARD_INPUT and not options.check:
        print(formatted, end="")
    elif formatted != text and options.check:
        print(f"{path} is not formatted", file=sys.stderr)
    elif formatted != text:
        rewrite(path, formatted)
        print(f"formatted {path}")
    return formatted == text


def _formatted(path: Path, text: str) -> str:
    from etude.compiler.diagnostics import Source
    from etude.compiler.modules import syntax_diagnostic
    from etude.grammar.faults import SyntaxFault
    from etude.grammar.formatter import format_source

    try:
        return format_source(text)
    except SyntaxFault as fault:
        diagnostic = syntax_diagnostic(Source(str(path), text), fault)
        raise faults.RecipeFaultError([str(path)], [diagnostic]) from fault
