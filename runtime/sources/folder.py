"""Folders of pictures or of texts: a row for each file, a class for each subfolder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema, SourceSchema
from etude.runtime.reading.folders import Folder, class_column, class_of, existing_folder, has_extension
from etude.runtime.reading.pictures import EXTENSIONS, PICTURE_OPTIONS, Form, declared_form, read_head
from etude.runtime.reading.remembered import remembered_schema
from etude.runtime.sources import Chunk, SourceError

if TYPE_CHECKING:
    from etude.runtime.arrays import Array

OPTIONS: Mapping[str, str] = {
    **PICTURE_OPTIONS,
    "masks": 'where each pixel has a class: what the name of the mask ends in ("_mask": a_mask.png beside a.jpg)',
}
FORMAT = 2  # of what is remembered
TEXTS = frozenset({"txt", "md"})
CHUNK_BYTES = 8 << 20
CHUNK_TEXTS = 256


def schema(uri: str, options: Mapping[str, Any], base: Path) -> SourceSchema:
    """List the files, and look at the first bytes of the pictures where the size is not declared."""
    folder, kind = _content(uri, options, base)
    known, is_settled = folder.stamp()
    if kind == "texts":
        return _text_schema(folder)
    question = ["pictures", FORMAT, known, dict(options)]
    return remembered_schema(question, is_settled, lambda: _picture_schema(folder, options))


def fingerprint(uri: str, options: Mapping[str, Any], base: Path, hash_file: Callable[[Path], str]) -> str:
    """A hash of the files' names and bytes."""
    return _content(uri, options, base)[0].content_hash()


def chunks(uri: str, options: Mapping[str, Any], base: Path) -> Iterator[Chunk]:
    """Read the files in the order of their names. Raises `SourceError` at the first that cannot be read."""
    folder, kind = _content(uri, options, base)
    known = schema(uri, options, base)
    for part in (folder.parts() or {"": folder}).values():
        yield from _rows(part, kind, options, known)


def split_chunks(uri: str, options: Mapping[str, Any], base: Path, split: str) -> Iterator[Chunk]:
    """The same for the files of one part."""
    folder, kind = _content(uri, options, base)
    return _rows(folder.parts()[split], kind, options, schema(uri, options, base))


def _rows(folder: Folder, kind: str, options: Mapping[str, Any], known: SourceSchema) -> Iterator[Chunk]:
    return _texts(folder, known) if kind == "texts" else _pictures(folder, options, known)


def _content(uri: str, options: Mapping[str, Any], base: Path) -> tuple[Folder, str]:
    """The folder, and whether it holds pictures or texts."""
    folder = existing_folder(uri, base, lambda name: has_extension(name, EXTENSIONS | TEXTS))
    is_text = [has_extension(name, TEXTS) for name in folder.files]
    if not folder.files:
        expected = f"pictures (.{', .'.join(sorted(EXTENSIONS))}) or texts (.txt), in a subfolder for each class"
        raise folder.error("nothing to read in this folder", expected=expected, got="no such file")
    if any(is_text) and not all(is_text):
        first = folder.files[is_text.index(True)]
        raise folder.error("pictures and texts in one folder", file=first, expected="one kind of files", got="both")
    return folder, "texts" if any(is_text) else "pictures"


def _text_schema(folder: Folder) -> SourceSchema:
    label = class_column(folder)
    columns = (ColumnSchema("text", "text", "text"), ColumnSchema("file", "text", "text"))
    return _described(folder, columns if label is None else (*columns, label), len(folder.files))


def _described(folder: Folder, columns: tuple[ColumnSchema, ...], rows: int) -> SourceSchema:
    """What a folder holds: rows, or parts with rows of their own."""
    splits = tuple(folder.parts())
    return SourceSchema(columns, None if splits else rows, splits)


def _picture_schema(folder: Folder, options: Mapping[str, Any]) -> SourceSchema:
    names = _picture_names(folder, options)
    form, label = _form(folder, names, options), class_column(folder)
    columns = [ColumnSchema("image", "tensor", "float32", form.shape)]
    if "masks" in options:
        columns.append(ColumnSchema("segments", "tensor", "int32", form.shape[:2], is_target=True))
    return _described(folder, (*columns, *([] if label is None else [label])), len(names))


def _picture_names(folder: Folder, options: Mapping[str, Any]) -> list[str]:
    """The pictures, without their masks. Raises `SourceError` for a picture that has none."""
    ending = options.get("masks")
    if ending is None:
        return list(folder.files)
    known = set(folder.files)
    names = [name for name in folder.files if not PurePosixPath(name).stem.endswith(ending)]
    if not names:
        raise folder.error(
            "every file is a mask", expected=f'pictures whose names do not end in "{ending}"', got="none"
        )
    for name in names:
        if _mask_name(name, ending) not in known:
            raise folder.error(
                "no mask", file=name, expected=f"beside it {_mask_name(name, ending)}", got="no such file"
            )
    return names


def _mask_name(name: str, ending: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}{ending}.png"))


def _form(folder: Folder, names: Sequence[str], options: Mapping[str, Any]) -> Form:
    """The form of all pictures. Without a `fit`, raises `SourceError` that names the first two which differ."""
    size, fit, channels = declared_form(folder.uri, options)
    if size is not None and fit is not None and channels is not None:
        return Form(*size, channels, fit)
    first = _head(folder, names[0])
    height, width = size or (first.height, first.width)
    form = Form(height, width, channels or first.channels, fit)
    for name in names if fit is None else ():
        head = _head(folder, name)
        if (head.height, head.width) != form.shape[:2]:
            expected = f"{form.height} x {form.width} pixels as " + ("declared" if size else names[0])
            got, hint = (
                f"{head.height} x {head.width}",
                f'size = [{form.height}, {form.width}], fit = "resize" or "crop"',
            )
            raise folder.error("pictures of different sizes", file=name, expected=expected, got=got, hint=hint)
    return form


def _head(folder: Folder, name: str) -> Any:
    try:
        return read_head(folder.path / name)
    except OSError as error:
        raise _unreadable(folder, name, error) from error


def _unreadable(folder: Folder, name: str, error: OSError) -> SourceError:
    row = folder.files.index(name)
    return folder.error(f"row {row}", file=name, expected="a picture that can be read", got=str(error))


def _labels(known: SourceSchema, names: Sequence[str]) -> Chunk:
    import numpy as np

    label = known.column("label")
    if label is None:
        return {}
    numbers = {name: position for position, name in enumerate(label.class_names or ())}
    return {"label": np.array([numbers[class_of(name) or ""] for name in names], np.int32)}


def _pictures(folder: Folder, options: Mapping[str, Any], known: SourceSchema) -> Iterator[Chunk]:
    """Decoded in workers, in order, a few MiB at a time."""
    import numpy as np

    from etude.runtime.reading.workers import ordered_map, worker_count

    height, width, depth = known.columns[0].shape
    form = Form(height, width, depth, options.get("fit"))
    names, ending = _picture_names(folder, options), options.get("masks")
    decoded = ordered_map(lambda name: _decode(folder, name, form, ending), names, worker_count())
    size = max(1, CHUNK_BYTES // (4 * height * width * depth))
    for start in range(0, len(names), size):
        part = names[start : start + size]
        rows = list(islice(decoded, len(part)))
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]} | _labels(known, part)


def _decode(folder: Folder, name: str, form: Form, ending: str | None) -> dict[str, Array]:
    from etude.runtime.reading.pictures import decode, decode_classes

    current = name
    try:
        row: dict[str, Array] = {"image": decode(folder.path / name, form)}
        if ending is not None:
            current = _mask_name(name, ending)
            row["segments"] = decode_classes(folder.path / current, form)
    except OSError as error:
        raise _unreadable(folder, current, error) from error
    return row


def _texts(folder: Folder, known: SourceSchema) -> Iterator[Chunk]:
    import numpy as np

    for start in range(0, len(folder.files), CHUNK_TEXTS):
        names = folder.files[start : start + CHUNK_TEXTS]
        texts = [_read_text(folder, name) for name in names]
        yield {"text": np.array(texts, dtype=object), "file": np.array(names, dtype=object)} | _labels(known, names)


def _read_text(folder: Folder, name: str) -> str:
    try:
        return (folder.path / name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte {error.object[error.start]:#04x} at place {error.start}"
        raise folder.error(f"row {folder.files.index(name)}", file=name, expected="UTF-8", got=got) from error
