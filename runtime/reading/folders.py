"""Folders of files: which there are, in one order everywhere, the class of each, and a hash of all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.compiler.schema import ColumnSchema
from etude.runtime.reading.remembered import remembered, stamp
from etude.runtime.sources import SourceError, extension, locator, nearest

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is there, under the URI that names it, and the files in it that count, by relative name."""

    uri: str
    path: Path
    files: tuple[str, ...]
    stats: tuple[os.stat_result, ...]

    def error(
        self,
        message: str,
        *,
        file: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> SourceError:
        """Something that is wrong with this folder, or with one file in it."""
        place = str(self.path / file) if file else str(self.path)
        return SourceError(message, uri=self.uri, file=place, expected=expected, got=got, hint=hint)

    def parts(self) -> dict[str, Folder]:
        """The folders "train", "valid" and "test" in it, where it has "train", another of them, and nothing else."""
        named: dict[str | None, list[int]] = {}
        for place, name in enumerate(self.files):
            named.setdefault(class_of(name), []).append(place)
        if "train" not in named or len(named) < 2 or not named.keys() <= set(SPLITS):
            return {}
        return {split: self._below(split, named[split]) for split in SPLITS if split in named}

    def _below(self, name: str, places: Sequence[int]) -> Folder:
        files = tuple(self.files[place].removeprefix(f"{name}/") for place in places)
        return Folder(self.uri, self.path / name, files, tuple(self.stats[place] for place in places))

    def stamp(self) -> tuple[str, bool]:
        """A hash of the files' names, sizes and times, and whether they are settled."""
        return stamp((f"{self.path.resolve()}/{name}", stat) for name, stat in zip(self.files, self.stats, strict=True))

    def content_hash(self) -> str:
        """A hash of the files' names and bytes; unchanged files are not read again."""
        known, is_settled = self.stamp()
        return str(remembered(["folder", known], is_settled, self._read_hash))

    def _read_hash(self) -> str:
        digest = hashlib.sha256()
        for name in self.files:
            with (self.path / name).open("rb") as file:
                digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()


def existing_folder(uri: str, base: Path, wanted: Callable[[str], bool]) -> Folder:
    """The folder that `uri` means, with the files whose names are `wanted`. Raises `SourceError`."""
    path = base / Path(locator(uri)).expanduser()
    if not path.is_dir():
        near = nearest(path.name, os.listdir(path.parent)) if path.parent.is_dir() else None
        what = "this is a file, not a folder" if path.exists() else f'no folder is called "{path.name}"'
        raise SourceError(what, uri=uri, file=str(path), hint=near)
    found = sorted((name, stat) for name, stat in _walk(path, "") if wanted(name))
    return Folder(uri, path, tuple(name for name, _ in found), tuple(stat for _, stat in found))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder, hidden ones left out, by its name relative to the start, with slashes."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat()


def has_extension(name: str, extensions: Collection[str]) -> bool:
    """Whether a file's name ends in one of these, whatever the case."""
    return extension(name) in extensions


def class_column(folder: Folder) -> ColumnSchema | None:
    """The label that the subfolders make, of parts those of all parts, or None when the files lie in the folder itself.

    Raises `SourceError`.
    """
    within = list((folder.parts() or {"": folder}).values())
    owners = [(part, name, class_of(name)) for part in within for name in part.files]
    names = tuple(sorted({owner for *_, owner in owners if owner is not None}))
    if not names:
        return None
    stray = next(((part, name) for part, name, owner in owners if owner is None), None)
    if stray is not None:
        part, name = stray
        expected = f"in a subfolder, as others are ({names[0]})"
        raise part.error("a file outside of the classes' folders", file=name, expected=expected, got="beside them")
    return ColumnSchema("label", "label", "int32", (), len(names), names)


def class_of(name: str) -> str | None:
    """The first folder of a relative name."""
    return name.split("/", 1)[0] if "/" in name else None
