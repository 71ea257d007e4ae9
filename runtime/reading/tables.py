"""Files of rows with named values: their fields from the first rows, and their arrays from all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.reading.declarations import COLUMN_OPTIONS, check_classes_are_used, declarations
from etude.runtime.reading.fields import Fail, Field, field_schemas, find_field, shown
from etude.runtime.reading.pictures import PICTURE_OPTIONS, Form, declared_form, read_head
from etude.runtime.sources import Chunk, DataFile

if TYPE_CHECKING:
    from etude.runtime.arrays import Array

OPTIONS: Mapping[str, str] = {**COLUMN_OPTIONS, **PICTURE_OPTIONS}
SNIFFED_ROWS = 1000
# For a column, the function that makes the error for a value of it, by its index.
Failures: TypeAlias = Callable[[str], Fail]


def find_fields(
    file: DataFile, sample: Mapping[str, Sequence[Any]], options: Mapping[str, Any], failures: Failures
) -> dict[str, Field]:
    """The field of each column that is read, from its first values. Raises `SourceError`."""
    declared = declarations(file, sample, options)
    fields = {}
    for name in declared.names:
        form = None
        if declared.types.get(name) == "image":
            form = _form(file, sample[name], options, failures(name))
        fields[name] = find_field(name, sample[name], declared, failures(name), form)
    _check_names(file, field_schemas(fields))
    check_classes_are_used(file, options.get("classes"), field_schemas(fields))
    return fields


def table_schema(fields: Mapping[str, Field], rows: int | None) -> SourceSchema:
    """What a file with these fields holds."""
    return SourceSchema(field_schemas(fields), rows)


def convert_rows(
    file: DataFile, fields: Mapping[str, Field], values: Mapping[str, Sequence[Any]], failures: Failures
) -> Chunk:
    """The arrays of a piece of the file. Raises `SourceError` at the first value that is of another type."""
    from etude.runtime.reading.values import convert

    made: Chunk = {}
    for name, field in fields.items():
        if field.kind == "image":
            made[name] = _pictures(file, field, values[name], failures(name))
        else:
            made |= convert(field, values[name], failures(name))
    return made


def picture_source(file: DataFile, value: Any) -> Path | bytes | None:
    """Where a picture is: a file named relative to the table's folder, or bytes in the table; None for neither."""
    if isinstance(value, Mapping):  # as data sets on the Hugging Face Hub have them
        value = value.get("bytes") or value.get("path")
    return file.path.parent / value if isinstance(value, str) else value if isinstance(value, bytes) else None


def _form(file: DataFile, values: Sequence[Any], options: Mapping[str, Any], fail: Fail) -> Form:
    """The form of all pictures of a column: declared, or of the first one."""
    size, fit, channels = declared_form(file.uri, options)
    if size is None or channels is None:
        head = _checked(file, 0, values[0], fail, read_head)
        size, channels = size or (head.height, head.width), channels or head.channels
    return Form(*size, channels, fit)


def _pictures(file: DataFile, field: Field, values: Sequence[Any], fail: Fail) -> Array:
    import numpy as np

    from etude.runtime.reading.pictures import decode
    from etude.runtime.reading.workers import ordered_map, worker_count

    form = field.form
    assert form is not None

    def work(item: tuple[int, Any]) -> Array:
        pixels: Array = _checked(file, *item, fail, lambda source: decode(source, form))
        return pixels

    made = np.empty((len(values), *form.shape), np.float32)
    for index, pixels in enumerate(ordered_map(work, enumerate(values), worker_count())):
        made[index] = pixels
    return made


def _checked(file: DataFile, index: int, value: Any, fail: Fail, read: Callable[[Path | bytes], Any]) -> Any:
    source = picture_source(file, value)
    if source is None:
        raise fail(index, "the file name of a picture", shown(value), None)
    name = str(source) if isinstance(source, Path) else "the picture"
    try:
        return read(source)
    except FileNotFoundError as error:
        raise fail(index, "a picture", f"{name}: no such file", None) from error
    except ValueError as error:  # a name that no file can have
        raise fail(index, "the file name of a picture", shown(value), None) from error
    except OSError as error:
        hint = 'size = [height, width], fit = "resize"' if str(error).startswith("it is ") else None
        expected = "a picture of the size of the first" if hint else "a picture that can be read"
        raise fail(index, expected, f"{name}: {error}", hint) from error


def _check_names(file: DataFile, columns: Sequence[ColumnSchema]) -> None:
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise file.error(f'two columns would be called "{name}"', hint="read only some: columns = [..]")
