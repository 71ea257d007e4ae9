"""Parquet files, read row group by row group; the types come from the file, and from its first rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import SourceSchema
from etude.runtime.reading import tables
from etude.runtime.reading.declarations import listed
from etude.runtime.reading.fields import Fail, Field
from etude.runtime.reading.remembered import file_question, remembered_schema
from etude.runtime.sources import Chunk, DataFile, SourceError, existing_file

if TYPE_CHECKING:
    from etude.runtime.arrays import Array

OPTIONS: Mapping[str, str] = tables.OPTIONS
CHUNK_BYTES = 8 << 20
MAX_CHUNK_ROWS = 65_536
NUMBER_TYPES = {"float32": ("float", "double", "halffloat", "int"), "int32": ("int", "uint"), "bool": ("bool",)}


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """Read the footer and the first 1,000 rows, once for as long as the file stays as it is. Raises `SourceError`."""
    file = existing_file(uri, base)
    question, is_settled = file_question(file.path, options)
    return remembered_schema(["parquet", *question], is_settled, lambda: _read_schema(file, options))


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """The hash of the file's bytes."""
    return hash_file(existing_file(uri, base).path)


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read all rows as the schema says. Raises `SourceError` at the first value that is of another type."""
    file = existing_file(uri, base)
    with _opened(file) as table:
        fields = _fields(file, table, options)
        first = 0
        for batch in table.iter_batches(_chunk_rows(table), columns=list(fields)):
            yield _converted(file, fields, batch, first)
            first += batch.num_rows


@contextmanager
def _opened(file: DataFile) -> Iterator[Any]:
    """The open file; whatever shows that it is broken becomes a `SourceError`."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        hint = 'pip install "etude-lang[data]" brings it'
        raise file.error("pyarrow is not installed", hint=hint) from None
    try:
        with parquet.ParquetFile(file.path, pre_buffer=False, buffer_size=1 << 20) as table:
            yield table
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system's word, not the reader's
            raise file.error(f"this file cannot be read: {os.strerror(error.errno).lower()}") from error
        raise file.error(
            f"not a complete Parquet file ({str(error).splitlines()[0]})",
            expected="data pages and a footer as Parquet has them",
            got=f"{file.path.stat().st_size:,} bytes that break off or are damaged",
            hint="was it cut off while copying? copy or write it again",
        ) from error


def _read_schema(file: DataFile, options: Mapping[str, Any]) -> SourceSchema:
    with _opened(file) as table:
        return tables.table_schema(_fields(file, table, options), table.metadata.num_rows)


def _fields(file: DataFile, table: Any, options: Mapping[str, Any]) -> dict[str, Field]:
    names = table.schema_arrow.names
    columns = listed(options.get("columns", names))
    kept = [name for name in names if name in columns] or names
    batch = next(table.iter_batches(tables.SNIFFED_ROWS, columns=kept), None)
    if batch is None:
        raise file.error("the file has no rows")
    sample: dict[str, Any] = {name: [] for name in names}
    sample |= {name: batch.column(name).to_pylist() for name in kept}
    return tables.find_fields(file, sample, {**options, "columns": columns}, _failures(file, 0))


def _chunk_rows(table: Any) -> int:
    meta = table.metadata
    size = sum(int(meta.row_group(i).total_byte_size) for i in range(meta.num_row_groups))
    return max(1, min(MAX_CHUNK_ROWS, CHUNK_BYTES * int(meta.num_rows) // max(size, 1)))


def _converted(file: DataFile, fields: Mapping[str, Field], batch: Any, first: int) -> Chunk:
    """A batch as arrays: numbers as they lie in memory, everything else value by value."""
    failures = _failures(file, first)
    direct: Chunk = {}
    for name, field in fields.items():
        values = _direct(field, batch.column(name), failures(name))
        if values is not None:
            direct[name] = values
    others = {name: field for name, field in fields.items() if name not in direct}
    rest = tables.convert_rows(file, others, {name: batch.column(name).to_pylist() for name in others}, failures)
    made = {**direct, **rest}
    return {schema.name: made[schema.name] for field in fields.values() for schema in field.schemas}


def _direct(field: Field, column: Any, fail: Fail) -> Array | None:
    """A column of numbers without a detour over Python, None where values have to be looked at one by one."""
    import pyarrow as pa

    from etude.runtime.reading.values import in_range

    if field.kind not in {"float", "int", "bool"} or column.null_count:
        return None
    shape, flat = field.schema.shape, column
    for size in shape:
        if not (
            pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type)
        ):
            return None
        lengths = flat.value_lengths() if not pa.types.is_fixed_size_list(flat.type) else None
        if lengths is not None and len(lengths) and (lengths.null_count or set(lengths.unique().to_pylist()) != {size}):
            return None
        if lengths is None and flat.type.list_size != size:
            return None
        flat = flat.flatten()
    if flat.null_count or not str(flat.type).startswith(NUMBER_TYPES[field.schema.dtype]):
        return None
    return in_range(flat.to_numpy(zero_copy_only=False).reshape(-1, *shape), field.schema.dtype, fail)


def _failures(file: DataFile, first: int) -> tables.Failures:
    def of_column(name: str) -> Fail:
        def fail(index: int, expected: str, got: str, hint: str | None) -> SourceError:
            message = f'row {first + index}, column "{name}"'
            return file.error(message, column=name, expected=expected, got=got, hint=hint)

        return fail

    return of_column
