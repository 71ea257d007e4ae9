"""Read and compile the recipes that a command was given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etude.runtime.cli.faults import RecipeFaultError, UsageError, recipe_code
from etude.runtime.cli.options import Adjustments

if TYPE_CHECKING:
    from etude.compiler.pipeline import Compilation
    from etude.compiler.workflow import Workflow

STANDARD_INPUT = Path("-")


def read_recipe(path: Path) -> str:
    """The text of a recipe; `-` is standard input. Raises UsageError when it cannot be read."""
    if path == STANDARD_INPUT:
        return sys.stdin.read()
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}", hint=_near(path)) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _near(path: Path) -> str | None:
    import difflib

    there = [file.name for file in path.parent.glob("*.etude")] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, there, 1) or difflib.get_close_matches(path.name + ".etude", there, 1)
    return f"did you mean {path.parent / close[0]}?" if close else None


def overrides(settings: tuple[str, ...]) -> dict[str, str]:
    """`--set name=value` as a dictionary. Raises UsageError."""
    found: dict[str, str] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set wants NAME=VALUE, got '{text}'")
        found[name.strip()] = value.strip()
    return found


def compile_recipe_file(path: Path, adjustments: Adjustments) -> Compilation:
    """Compile a recipe; data files are found beside it. Raises UsageError when it cannot be read."""
    return compile_recipe_text(read_recipe(path), path, adjustments)


def compile_recipe_text(text: str, path: Path, adjustments: Adjustments) -> Compilation:
    """Compile what stands in a file, or might."""
    from etude.runtime.compiling import compile_text

    is_stream = path == STANDARD_INPUT
    name = "<stdin>" if is_stream else str(path)
    base = Path() if is_stream else path.parent
    settings = overrides(adjustments.set)
    return compile_text(text, name, base, settings, adjustments.seed, adjustments.max_stages, adjustments.allow)


def workflow_of(path: Path, adjustments: Adjustments) -> Workflow:
    """The compiled recipe. Raises RecipeFaultError when it is wrong."""
    return compiled(path, adjustments)[1]


def compiled(path: Path, adjustments: Adjustments) -> tuple[Compilation, Workflow]:
    """The compilation of a recipe without errors, and its workflow. Raises RecipeFaultError."""
    compilation = compile_recipe_file(path, adjustments)
    if compilation.workflow is None:
        code = recipe_code(compilation.diagnostics, adjustments.set)
        raise RecipeFaultError([str(path)], compilation.diagnostics, code)
    return compilation, compilation.workflow
