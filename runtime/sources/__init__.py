"""Where data comes from: one module per kind of source, found by file name (`sklearn:digits`, `x.csv`, `x.npz`).

A source module has `OPTIONS` (name to what it means), `schema`, `fingerprint` and `chunks`, and `split_chunks` if its
schema has splits; only the last two may import numpy. What several of them need lies in `etude.runtime.reading`.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, get_args

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.packages import module_names
from etude.compiler.schema import Role, SourceSchema

if TYPE_CHECKING:
    import numpy as np

Chunk: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
SCHEME = re.compile(r"([a-z][a-z0-9_+-]+):(?![\\/])(.*)", re.DOTALL)
ALIASES = {"ndjson": "jsonl", "jsonlines": "jsonl", "pq": "parquet", "md": "txt", "tsv": "csv"}
ARCHIVE, ONE_PICTURE = "unpack it first", 'pictures are read by the folder: load("pictures/")'
ADVICE = {
    "json": "write one object a line, and call the file .jsonl",
    "npy": "numpy.savez puts arrays with names into an .npz",
    "xlsx": "save it as .csv",
    "xls": "save it as .csv",
    "pkl": "loading it would run what is in it; write .parquet, .npz or .jsonl",
    "pickle": "loading it would run what is in it; write .parquet, .npz or .jsonl",
    "pt": "loading it would run what is in it; write .parquet, .npz or .jsonl",
    **dict.fromkeys(("gz", "zip", "tar", "tgz", "xz", "bz2", "zst", "7z"), ARCHIVE),
    **dict.fromkeys(("png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"), ONE_PICTURE),
}  # for files that no source reads
SCHEMES = {"sklearn", "python", "networkx", "synthetic", "folder", "hf"}
OTHER_ENCODING = "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8 OLD > NEW"
COMMON_OPTIONS = {"role": "what the rows are for: train, valid, test, unlabelled or external"}


class SourceError(Exception):
    """A data source is not there, or does not hold what it should. All that is known stands in the fields; `option` is
    the one of `load` that is to blame."""

    def __init__(
        self,
        message: str,
        *,
        uri: str,
        file: str | None = None,
        line: int | None = None,
        column: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        option: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.uri, self.file, self.line, self.column = message, uri, file, line, column
        self.expected, self.got, self.hint, self.option = expected, got, hint, option

    def __str__(self) -> str:
        place = f"{self.file or self.uri}:{self.line}" if self.line else self.file or self.uri
        difference = f": expected {self.expected}, got {self.got}" if self.expected else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{place}: {self.message}{difference}{hint}"


class Source(Protocol):
    """What a module of this package offers. `base` is the folder that relative file names start from."""

    OPTIONS: Mapping[str, str]

    def schema(self, uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
        """Say what the source holds, without reading all of it and without numpy."""

    def fingerprint(self, uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
        """Give a text that changes when the content does, cheaply."""

    def chunks(self, uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
        """Read every column of the schema piece by piece, rows first: float32, int32, bool, or str objects.

        Each row comes once, in the same order whenever it is read; a piece is small, whatever the size of the whole.
        """


@cache
def available() -> tuple[str, ...]:
    """The names of all kinds of sources, sorted."""
    return tuple(module_names(__path__))


def scheme(uri: str) -> str:
    """The kind of source that a URI means: what stands before the colon, or the file's extension; without, a folder.

    >>> scheme("sklearn:digits"), scheme("data/train.CSV"), scheme("photos/")
    ('sklearn', 'csv', 'folder')
    """
    match = SCHEME.fullmatch(uri)
    if match:
        return match[1]
    return "folder" if uri.endswith(("/", "\\")) else ALIASES.get(suffix := extension(uri), suffix) or "folder"


def extension(name: str) -> str:
    """What follows the last dot of a file's name, lower case, or nothing."""
    return Path(name).suffix[1:].lower()


def locator(uri: str) -> str:
    """A URI without its scheme."""
    match = SCHEME.fullmatch(uri)
    return match[2] if match else uri


def find(uri: str) -> Source:
    """The module that reads `uri`. Raises `SourceError` for a kind that nobody reads."""
    name = scheme(uri)
    if name in available():
        return cast(Source, importlib.import_module(f"{__name__}.{name}"))
    known = [f"{kind}:" if kind in SCHEMES else f".{kind}" for kind in available()]
    hint = ADVICE.get(name) or nearest(name, available()) or f"known sources: {', '.join(known)}"
    raise SourceError(f'no source reads "{uri}"', uri=uri, hint=hint)


def describe(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """What `load(uri, ...)` will give, from metadata only. Raises `SourceError`."""
    source = find(uri)
    check_options(uri, options, known_options(uri))
    try:
        schema = source.schema(uri, options, base)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise SourceError(f"this cannot be read: {words}", uri=uri, file=str(error.filename or uri)) from error
    role = options.get("role", schema.role)
    if role not in get_args(Role):
        hint = nearest(str(role), get_args(Role)) or f"roles: {', '.join(get_args(Role))}"
        raise SourceError(f'no role is called "{role}"', uri=uri, hint=hint, option="role")
    return replace(schema, role=role)


def chunks(uri: str, options: Mapping[str, Any], base: Path, split: str | None = None) -> Iterator[Chunk]:
    """The rows of a source, or of one of its splits, piece by piece.

    Raises `SourceError` where the data is not what the schema says.
    """
    source: Any = find(uri)
    rows: Iterator[Chunk] = (
        source.chunks(uri, options, base) if split is None else source.split_chunks(uri, options, base, split)
    )
    return rows


def load(uri: str, options: Mapping[str, Any], base: Path) -> Chunk:
    """All rows of a source at once."""
    import numpy as np

    pieces = list(chunks(uri, options, base))
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]} if pieces else {}


def known_options(uri: str) -> Mapping[str, str]:
    """The options that the source of `uri` reads, each with what it means."""
    source = find(uri)
    own: Mapping[str, str] = source.options_of(uri) if hasattr(source, "options_of") else source.OPTIONS
    return {**own, **COMMON_OPTIONS}


def check_options(uri: str, options: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse options that the source does not read."""
    for name in options:
        if name not in known:
            hint = nearest(name, known) or (f"options here: {', '.join(known)}")
            raise SourceError(f'no option is called "{name}"', uri=uri, hint=hint, option=name)


class DataFile(Struct, frozen=True):
    """A file that is there, under the URI that names it."""

    uri: str
    path: Path

    def error(
        self,
        message: str,
        *,
        line: int | None = None,
        column: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        option: str | None = None,
    ) -> SourceError:
        """Something that is wrong with this file."""
        return SourceError(
            message,
            uri=self.uri,
            file=str(self.path),
            line=line,
            column=column,
            expected=expected,
            got=got,
            hint=hint,
            option=option,
        )

    def not_utf_8(self, error: UnicodeDecodeError, line: int | None) -> SourceError:
        """A line that was written in another encoding."""
        got = f"byte {error.object[error.start]:#04x}"
        return self.error("a byte that is not UTF-8", line=line, expected="UTF-8", got=got, hint=OTHER_ENCODING)


def existing_file(uri: str, base: Path) -> DataFile:
    """The file that `uri` means. Raises `SourceError`, with the nearest names of its folder, when it is not there."""
    path = base / Path(locator(uri)).expanduser()
    if path.is_file():
        return DataFile(uri, path)
    if path.is_dir():
        raise SourceError("this is a folder, not a file", uri=uri, file=str(path))
    folder = path.parent
    if not folder.is_dir():
        raise SourceError(f'no folder is called "{folder}"', uri=uri, file=str(path))
    hint = nearest(path.name, os.listdir(folder)) or f'the folder is "{folder}"'
    raise SourceError(f'no file is called "{path.name}"', uri=uri, file=str(path), hint=hint)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """A did-you-mean hint, or None when nothing is near."""
    import difflib

    matches = difflib.get_close_matches(name, list(names), n=2, cutoff=0.6)
    return "did you mean " + " or ".join(f'"{match}"' for match in matches) + "?" if matches else None
