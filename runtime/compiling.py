"""Compile a recipe file: read it, and let the compiler ask the data sources what they hold."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from etude.compiler.pipeline import Compilation, compile_recipe
from etude.compiler.schema import SourceSchema
from etude.runtime import sources

MAX_STAGES = 100_000


def compile_file(
    path: Path, *, overrides: Mapping[str, str] | None = None, seed: int = 0, max_stages: int = MAX_STAGES
) -> Compilation:
    """Compile the recipe at `path`; data files are relative to its folder. Raises OSError, UnicodeDecodeError."""
    return compile_text(path.read_text(encoding="utf-8"), str(path), path.parent, overrides, seed, max_stages)


def compile_text(
    text: str,
    name: str,
    base: Path,
    overrides: Mapping[str, str] | None = None,
    seed: int = 0,
    max_stages: int = MAX_STAGES,
    allowed: Collection[str] = (),
) -> Compilation:
    """Compile the text of a recipe that is called `name`, with data files relative to `base`."""

    def describe(uri: str, options: Mapping[str, Any]) -> SourceSchema:
        try:
            return sources.describe(uri, options, base)
        except sources.SourceError as error:
            inside = error.file if error.file and uri and not Path(error.file).match(uri) else None
            place = f"{error.file or uri}:{error.line}: " if error.line else f"{inside}: " if inside else ""
            difference = f": expected {error.expected}, got {error.got}" if error.expected else ""
            raise LookupError(f"{place}{error.message}{difference}", error.hint, error.option) from None

    def read(path: str) -> str:
        file = base / path
        if file.exists() and not file.is_dir() and not file.is_file():
            raise OSError(errno.EINVAL, "it is no plain file", str(file))
        return file.read_text(encoding="utf-8")

    return compile_recipe(
        text,
        name=name,
        describe_source=describe,
        read_module=read,
        overrides=overrides,
        seed=seed,
        max_stages=max_stages,
        allowed=frozenset(allowed),
    )
