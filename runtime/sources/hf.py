"""Data sets of the Hugging Face Hub: `hf:org/name`, through the package `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.compiler.schema import SourceSchema
from etude.runtime.reading import tables
from etude.runtime.reading.fields import Fail, Field
from etude.runtime.reading.remembered import remembered_schema
from etude.runtime.sources import Chunk, DataFile, SourceError, locator

OPTIONS: Mapping[str, str] = {
    **tables.OPTIONS,
    "config": "which of the data set's configurations",
    "split": "one of its splits, instead of a record of all",
    "revision": "a branch, tag or commit; by default the latest",
}
ROLES = {"validation": "valid", "dev": "valid"}
PIECE = 1000


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """The columns from the first 1,000 rows of the first split, the sizes from the data set's card. Raises
    `SourceError`."""
    builder = _builder(uri, options)
    sizes = {name: int(split.num_examples or 0) or None for name, split in (builder.info.splits or {}).items()}
    names = [options["split"]] if options.get("split") else list(sizes)
    _check_split(uri, options, sizes)
    question = ["hf", locator(uri), _version(builder), {k: v for k, v in options.items() if k != "role"}]

    def made() -> SourceSchema:
        fields = _fields(uri, options, names[0])
        return tables.table_schema(fields, sizes.get(names[0]))

    found = remembered_schema(question, True, made)
    if options.get("split") or len(names) == 1:
        return found
    return SourceSchema(found.columns, None, tuple(ROLES.get(name, name) for name in names))


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The data set's name and the version of its files."""
    return f"hf:{locator(uri)}:{_version(_builder(uri, options))}"


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read the only split, or the one that `split` names."""
    names = list(_builder(uri, options).info.splits or {})
    yield from _chunks(uri, options, options.get("split") or names[0])


def split_chunks(uri: str, options: Mapping[str, Any], base: Path, split: str) -> Iterator[Chunk]:
    """Read one split, by the name that it has here."""
    names = {ROLES.get(name, name): name for name in _builder(uri, options).info.splits or {}}
    yield from _chunks(uri, options, names[split])


def _chunks(uri: str, options: Mapping[str, Any], split: str) -> Iterator[Chunk]:
    first = next(iter(_builder(uri, options).info.splits or {split: None}))
    fields = _fields(uri, options, options.get("split") or first)
    file, start = _place(uri), 0
    for rows in _pieces(uri, options, split):
        columns = {name: rows[name] for name in fields}
        made = tables.convert_rows(file, fields, columns, _failures(uri, start))
        yield {column.name: made[column.name] for field in fields.values() for column in field.schemas}
        start += len(next(iter(columns.values())))


def _fields(uri: str, options: Mapping[str, Any], split: str) -> dict[str, Field]:
    sample = next(_pieces(uri, options, split), None)
    if sample is None:
        raise SourceError("the data set has no rows", uri=uri)
    features = _builder(uri, options).info.features or {}
    known = {name: list(feature.names) for name, feature in features.items() if hasattr(feature, "names")}
    images = {name: "image" for name, feature in features.items() if type(feature).__name__ == "Image"}
    settings = {name: value for name, value in options.items() if name in tables.OPTIONS}
    settings["types"] = {**dict.fromkeys(known, "label"), **images, **(options.get("types") or {})}
    if known and "classes" not in settings:
        settings["classes"] = known
    return tables.find_fields(_place(uri), sample, settings, _failures(uri, 0))


def _pieces(uri: str, options: Mapping[str, Any], split: str) -> Iterator[dict[str, list[Any]]]:
    """The rows, some at a time, as lists by column; classes as their names, pictures as their bytes."""
    package = _package(uri)
    data = _asked(uri, lambda: package.load_dataset(locator(uri), options.get("config"), split=split, streaming=True,
                                                    revision=options.get("revision")))  # fmt: skip
    features = _builder(uri, options).info.features or {}
    for name, feature in features.items():
        if type(feature).__name__ == "Image":
            data = data.cast_column(name, package.Image(decode=False))
    names = {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}
    rows: list[Mapping[str, Any]] = []
    for row in data:
        rows.append(row)
        if len(rows) == PIECE:
            yield _columns(rows, names)
            rows = []
    if rows:
        yield _columns(rows, names)


def _columns(rows: Sequence[Mapping[str, Any]], names: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    return {
        column: [names[column][row[column]] if column in names else row[column] for row in rows] for column in rows[0]
    }


def _builder(uri: str, options: Mapping[str, Any]) -> Any:
    package = _package(uri)
    return _asked(uri, lambda: package.load_dataset_builder(
        locator(uri), options.get("config"), revision=options.get("revision")
    ))  # fmt: skip


def _version(builder: Any) -> str:
    return str(getattr(builder, "hash", None) or builder.info.version)


def _package(uri: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError:
        hint = "pip install datasets"
        raise SourceError('this needs the package "datasets", which is not installed', uri=uri, hint=hint) from None
    return datasets


def _asked(uri: str, question: Callable[[], Any]) -> Any:
    """The answer of the hub. Raises `SourceError` where there is none."""
    try:
        return question()
    except (OSError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        hint = "is there a connection to the hub, or a copy of the data set on this machine?"
        raise SourceError(f"the hub does not give it: {lines[0][:200]}", uri=uri, hint=hint) from error


def _check_split(uri: str, options: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    split = options.get("split")
    if not sizes:
        raise SourceError("the data set does not say which splits it has", uri=uri)
    if split is not None and split not in sizes:
        raise SourceError(f'no split is called "{split}"', uri=uri, hint=f"there are {', '.join(sizes)}")


def _place(uri: str) -> DataFile:
    """What errors call the source."""
    return DataFile(uri, Path(locator(uri)))


def _failures(uri: str, first: int) -> tables.Failures:
    def of_column(name: str) -> Fail:
        def fail(index: int, expected: str, got: str, hint: str | None) -> SourceError:
            message = f'row {first + index}, column "{name}"'
            return SourceError(message, uri=uri, column=name, expected=expected, got=got, hint=hint)

        return fail

    return of_column
