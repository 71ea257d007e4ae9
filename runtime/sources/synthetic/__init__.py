"""Data made by seeded generators: `synthetic:molecules`, `synthetic:moons` and others, a module of this folder each.

A generator has `OPTIONS` (name to default and meaning), `SEMANTICS` (raised when the same options give other
numbers), `columns(options)` and `rows(options, key, numbers)`. Row i is made of (seed, i) alone, by the counter-based
draws of `etude.backends.numpy.random`: more rows begin with the same rows, and a few rows are made at a time.
"""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.sources import Chunk, SourceError, locator, nearest

if TYPE_CHECKING:
    import numpy as np

CHUNK_BYTES = 4 << 20
MAX_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a generator: its default, whose type it has, the least and largest value, and the choices."""

    default: Any
    meaning: str
    low: float = 0
    high: float = math.inf
    choices: tuple[str, ...] = ()


class Generator(Protocol):
    """What a module of this folder offers."""

    OPTIONS: Mapping[str, Option]
    SEMANTICS: int

    def columns(self, options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
        """The columns, without numpy."""

    def rows(self, options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
        """Make the rows with these numbers; their draws come from `key` and the numbers."""


COMMON: Mapping[str, Option] = {
    "n": Option(1000, "the number of rows", low=1, high=2**32 - 1),
    "seed": Option(0, "another seed gives other rows", high=2**32 - 1),
}


OPTIONS: Mapping[str, str] = {name: option.meaning for name, option in COMMON.items()}


def options_of(uri: str) -> Mapping[str, str]:
    """What the options of this generator mean, with their defaults. Raises `SourceError` for an unknown generator."""
    known = {**COMMON, **_generator(uri).OPTIONS}
    return {name: f"{option.meaning}; {option.default} when left out" for name, option in known.items()}


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """What the generator will make. Raises `SourceError` for an unknown one, or a wrong option."""
    generator, settings = _settings(uri, options)
    return SourceSchema(generator.columns(settings), settings["n"])


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The generator, its version, and all options."""
    generator, settings = _settings(uri, options)
    return f"synthetic:{locator(uri)}:{generator.SEMANTICS}:{json.dumps(settings, sort_keys=True)}"


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Make the rows, a few MiB at a time."""
    import numpy as np

    from etude.backends.numpy.random import fold

    generator, settings = _settings(uri, options)
    key = fold(fold(0, settings["seed"]), generator.SEMANTICS)
    width = sum(4 * math.prod(column.shape) for column in generator.columns(settings))
    size = max(1, min(MAX_CHUNK_ROWS, CHUNK_BYTES // width))
    for start in range(0, settings["n"], size):
        yield generator.rows(settings, key, np.arange(start, min(start + size, settings["n"]), dtype=np.uint32))


def generators() -> tuple[str, ...]:
    """The names of all generators, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def find_generator(name: str) -> Generator:
    """The module of a generator that is there."""
    return cast(Generator, importlib.import_module(f"{__name__}.{name}"))


def _generator(uri: str) -> Generator:
    name = locator(uri)
    if name not in generators():
        hint = nearest(name, generators()) or f"there are: {', '.join(generators())}"
        raise SourceError(f'nothing generates "{name}"', uri=uri, hint=hint)
    return find_generator(name)


def _settings(uri: str, options: Mapping[str, Any]) -> tuple[Generator, dict[str, Any]]:
    """The generator, and the value of each of its options. Raises `SourceError`."""
    generator = _generator(uri)
    known = {**COMMON, **generator.OPTIONS}
    return generator, {key: _checked(uri, key, option, options.get(key)) for key, option in known.items()}


def _checked(uri: str, name: str, option: Option, value: Any) -> Any:
    if value is None:
        return option.default
    if option.choices:
        if value not in option.choices:
            hint = nearest(str(value), option.choices)
            expected = f"one of {', '.join(option.choices)}"
            raise SourceError(name, uri=uri, expected=expected, got=str(value), hint=hint, option=name)
        return value
    wanted = (int,) if isinstance(option.default, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted) or not option.low <= value <= option.high:
        what = "a whole number" if wanted == (int,) else "a number"
        limits = f"from {option.low:g}" + ("" if option.high == math.inf else f" to {option.high:g}")
        raise SourceError(name, uri=uri, expected=f"{what} {limits}", got=str(value), option=name)
    return type(option.default)(value)
