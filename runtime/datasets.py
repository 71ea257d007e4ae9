"""Datasets as artifacts: a manifest of columns, each an Arrow file and a selection of its rows.

`split`, `sample`, `filter` and their like share the files of their columns; what differs is the selection. A row keeps
its identity, a 64-bit number made of the content it came with and its index there, through all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from msgspec.structs import replace as schema_replace
from numpy.typing import NDArray

from etude.backends.batches import mix64
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array, Rows, read_array, write_array
from etude.runtime.columnwriter import ColumnWriter
from etude.runtime.store import Store

Json = Any
Ids: TypeAlias = NDArray[np.uint64]
Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a dataset: its type, the object that holds its values, and which rows of it (None: all)."""

    schema: ColumnSchema
    object: str
    index: str | None = None

    def to_json(self) -> Json:
        schema = self.schema
        return {
            "kind": schema.kind,
            "dtype": schema.dtype,
            "shape": list(schema.shape),
            "classes": schema.classes,
            "names": None if schema.class_names is None else list(schema.class_names),
            "target": schema.is_target,
            "object": self.object,
            "index": self.index,
        }

    @staticmethod
    def from_json(name: str, data: Json) -> Column:
        names = None if data["names"] is None else tuple(data["names"])
        shape, is_target = tuple(data["shape"]), data.get("target", False)
        schema = ColumnSchema(name, data["kind"], data["dtype"], shape, data["classes"], names, is_target)
        return Column(schema, data["object"], data["index"])


APPEND_BYTES = 8 << 20
IDS = ColumnSchema("ids", "tensor", "uint64")


class Dataset:
    """Rows in columns. Immutable; values are read when they are asked for."""

    def __init__(self, store: Store, rows: int, columns: Mapping[str, Column], ids: Column) -> None:
        self.store, self.rows, self.columns, self._ids = store, rows, dict(columns), ids

    @classmethod
    def create(cls, store: Store, schemas: Iterable[ColumnSchema], arrays: Mapping[str, Array]) -> Dataset:
        """Store new rows; their identities come from all of their content."""
        with DatasetWriter(store, schemas) as writer:
            writer.append(arrays)
            return writer.finish()

    @classmethod
    def open(cls, store: Store, hash: str) -> Dataset:
        """The dataset of a manifest."""
        manifest = store.read_json(hash)
        columns = {name: Column.from_json(name, data) for name, data in manifest["columns"].items()}
        return cls(store, manifest["rows"], columns, Column.from_json("ids", manifest["ids"]))

    def save(self) -> str:
        """Store the manifest; its hash is the dataset's content hash."""
        columns = {name: column.to_json() for name, column in self.columns.items()}
        return self.store.objects.put_json({"rows": self.rows, "columns": columns, "ids": self._ids.to_json()})

    def objects(self) -> set[str]:
        """The objects that the manifest names."""
        columns = [*self.columns.values(), self._ids]
        return {hash for column in columns for hash in (column.object, column.index) if hash is not None}

    def column(self, name: str) -> Array:
        """The values of a column, [rows, ...]."""
        return self._read(self.columns[name])

    def reader(self, name: str) -> Rows:
        """A column of which rows are read as they are asked for, in little memory."""
        column = self.columns[name]
        schema = column.schema
        return Rows(self.store.objects, column.object, schema.dtype, schema.shape, self._index(column.index))

    @cached_property
    def ids(self) -> Ids:
        """The identity of each row, [rows]."""
        return self._read(self._ids)

    def schema(self, name: str) -> ColumnSchema:
        return self.columns[name].schema

    def select(self, indices: Indices) -> Dataset:
        """The rows at `indices`, in that order; the columns' files are shared."""
        made: dict[str | None, str] = {}

        def selected(column: Column) -> Column:
            if column.index not in made:
                old = self._index(column.index)
                made[column.index] = write_array(self.store.objects, indices if old is None else old[indices])
            return replace(column, index=made[column.index])

        columns = {name: selected(column) for name, column in self.columns.items()}
        return Dataset(self.store, len(indices), columns, selected(self._ids))

    def keep(self, names: Iterable[str]) -> Dataset:
        """The same rows with the columns `names` only."""
        return Dataset(self.store, self.rows, {name: self.columns[name] for name in names}, self._ids)

    def renamed(self, source: Dataset, names: Iterable[tuple[str, str]]) -> Dataset:
        """The same rows with columns of another dataset of these rows added, each [name, its name there]."""
        added = {
            name: replace(source.columns[old], schema=schema_replace(source.schema(old), name=name))
            for name, old in names
        }
        return Dataset(self.store, self.rows, {**self.columns, **added}, self._ids)

    def with_columns(self, schemas: Iterable[ColumnSchema], arrays: Mapping[str, Array]) -> Dataset:
        """The same rows with columns added, or put in the place of those of the same name."""
        added = {s.name: Column(s, write_array(self.store.objects, arrays[s.name])) for s in schemas}
        return Dataset(self.store, self.rows, {**self.columns, **added}, self._ids)

    def with_pieces(self, schemas: Iterable[ColumnSchema], pieces: Iterable[Mapping[str, Array]]) -> Dataset:
        """Like `with_columns`, of values that come piece by piece; they are stored as they come."""
        with contextlib.ExitStack() as stack:
            writers = [ColumnWriter(self.store.objects, schema) for schema in schemas]
            for writer in writers:
                stack.callback(writer.close)
            for values in pieces:
                for writer in writers:
                    writer.append(values[writer.schema.name])
            assert all(writer.rows == self.rows for writer in writers), "a value for every row"
            added = {writer.schema.name: Column(writer.schema, writer.finish()) for writer in writers}
        return Dataset(self.store, self.rows, {**self.columns, **added}, self._ids)

    def followed_by(self, other: Dataset) -> Dataset:
        """The rows of this dataset and then those of another with the same columns."""
        shared = {name: column for name, column in self.columns.items() if _same_file(column, other.columns[name])}
        if len(shared) == len(self.columns) and _same_file(self._ids, other._ids):
            return self._appended_selection(other)
        columns = {name: self._appended_values(column, other) for name, column in self.columns.items()}
        ids = write_array(self.store.objects, np.concatenate([self.ids, other.ids]))
        return Dataset(self.store, self.rows + other.rows, columns, Column(IDS, ids))

    def _appended_selection(self, other: Dataset) -> Dataset:
        """The union of two selections of the same files is a selection of them."""
        made: dict[tuple[str | None, str | None], str] = {}

        def joined(mine: Column, theirs: Column) -> Column:
            pair = (mine.index, theirs.index)
            if pair not in made:
                parts = [self._full_index(mine.index, self.rows), self._full_index(theirs.index, other.rows)]
                made[pair] = write_array(self.store.objects, np.concatenate(parts))
            return replace(mine, index=made[pair])

        columns = {name: joined(column, other.columns[name]) for name, column in self.columns.items()}
        return Dataset(self.store, self.rows + other.rows, columns, joined(self._ids, other._ids))

    def _appended_values(self, column: Column, other: Dataset) -> Column:
        name = column.schema.name
        with contextlib.closing(ColumnWriter(self.store.objects, column.schema)) as writer:
            for rows in (self.reader(name), other.reader(name)):
                size = max(1, APPEND_BYTES // max(1, rows.dtype.itemsize * math.prod(rows.shape[1:])))
                for start in range(0, len(rows), size):
                    writer.append(rows[start : start + size])
            return Column(column.schema, writer.finish())

    def _read(self, column: Column) -> Array:
        schema = column.schema
        values = read_array(self.store.objects, column.object, schema.dtype, schema.shape)
        index = self._index(column.index)
        return values if index is None else values[index]

    def _index(self, hash: str | None) -> Indices | None:
        return None if hash is None else read_array(self.store.objects, hash, "int64", ())

    def _full_index(self, hash: str | None, rows: int) -> Indices:
        index = self._index(hash)
        return np.arange(rows, dtype=np.int64) if index is None else index


def _same_file(first: Column, second: Column) -> bool:
    return (first.schema, first.object) == (second.schema, second.object)


class DatasetWriter:
    """New rows, stored as they come in pieces; how they are cut changes nothing. Stores nothing unless finished."""

    def __init__(self, store: Store, schemas: Iterable[ColumnSchema]) -> None:
        self.store = store
        self._columns = [ColumnWriter(store.objects, schema) for schema in schemas]

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for column in self._columns:
            column.close()

    @property
    def rows(self) -> int:
        """How many rows there are so far."""
        return self._columns[0].rows

    def append(self, arrays: Mapping[str, Array]) -> None:
        """Add rows: a value for every column."""
        for column in self._columns:
            column.append(arrays[column.schema.name])
        assert len({column.rows for column in self._columns}) == 1, "columns of different lengths"

    def finish(self) -> Dataset:
        """Store the columns; the identities of the rows come from all of their content."""
        rows = self.rows
        ids = row_identities(combined_hash((c.schema, c.digest()) for c in self._columns), rows)
        columns = {c.schema.name: Column(c.schema, c.finish()) for c in self._columns}
        return Dataset(self.store, rows, columns, Column(IDS, write_array(self.store.objects, ids)))


def combined_hash(columns: Iterable[tuple[ColumnSchema, str]]) -> str:
    """A hash of names, types and values, each column with the digest of its values, in any order."""
    lines = sorted(f"{schema.name} {schema} {digest}\n" for schema, digest in columns)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def row_identities(root: str, rows: int) -> Ids:
    """One 64-bit number per row, no two equal within a root."""
    start = np.uint64(int(root[:16], 16))
    return mix64(mix64(np.arange(rows, dtype=np.uint64)) ^ start)
