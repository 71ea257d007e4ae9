"""A run as one file: a tar of what its folder holds, the records of its stages, and every object that they need.

A file from elsewhere is not believed: names must be those that an export writes, every object must hash to its name,
and nothing is visible before all of it has been read. What cannot be checked is whether a record tells the truth about
how its outputs were made: import what you would run.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from etude.runtime.store.errors import StoreError
from etude.runtime.store.files import make_folder, rename, sync_folder, synced
from etude.runtime.store.objects import read_hash
from etude.runtime.store.reach import Reach
from etude.runtime.store.records import Record, format_record, parse_record
from etude.runtime.store.store import Store

Json = Any
FORMAT = 1
HEAD = "etude-run.json"
CHUNK = 8 << 20
LARGEST_RECORD = 64 << 20
HASH = re.compile("[0-9a-f]{64}")
OBJECT = re.compile(r"objects/([0-9a-f]{64})")
RECORD = re.compile(r"records/([0-9a-f]{64})\.json")
RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,99}")
TRANSIENT = {"running.json"}


class ArchiveError(StoreError):
    """A file is not an export of a run, is cut short, or is not what it says."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is in a file: counts of objects and records, and their bytes."""

    run: str
    objects: int
    records: int
    files: int
    bytes: int


def export_run(store: Store, run: str, target: Path, *, with_objects: bool = True) -> Contents:
    """Write a run into a file, which appears whole. Raises `LostObject` when one of its objects is not sound."""
    folder = store.runs / run
    records = Reach.of_run(folder).records(store)
    hashes = sorted(Reach.of_run(folder).with_objects_of(records).objects)
    for hash in hashes:
        store.objects.path(hash)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in TRANSIENT]
    links = {
        name: hash for path in files if (hash := _object_of(store, path, hashes)) and (name := _name(folder, path))
    }
    head = {
        "format": FORMAT,
        "run": run,
        "folder": str(folder),
        "objects": len(hashes) if with_objects else 0,
        "records": len(records),
        "files": len(files) - len(links),
        "links": links,
    }
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("xb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, HEAD, json.dumps(head).encode())
            for hash in hashes if with_objects else ():
                _add_file(tar, f"objects/{hash}", store.objects.locate(hash))
            for record in records:
                _add(tar, f"records/{record.key}.json", format_record(record))
            for path in files:
                if _name(folder, path) not in links:
                    _add_file(tar, f"run/{_name(folder, path)}", path)
        with draft.open("rb") as file:
            synced(file, draft)
        size = draft.stat().st_size
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Contents(run=run, objects=head["objects"], records=len(records), files=len(files), bytes=size)


def import_run(store: Store, source: Path | IO[bytes]) -> Contents:
    """Bring a run here from a file; its results are found by runs from then on. Raises `ArchiveError`."""
    name = source if isinstance(source, Path) else Path("the second store")
    try:
        with tarfile.open(**({"name": source} if isinstance(source, Path) else {"fileobj": source}), mode="r:") as tar:
            return _Import(store, name, tar).whole()
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"this is no export of a run, or it is cut short: {error}", path=name) from error


class _Import:
    """One file on its way in: objects as they come, records and the folder of the run at the end."""

    def __init__(self, store: Store, name: Path, tar: tarfile.TarFile) -> None:
        self.store, self.name, self.tar = store, name, tar
        self.records: list[Record] = []
        self.seen: set[str] = set()
        self.objects = self.files = self.bytes = 0

    def whole(self) -> Contents:
        members = self._members()
        first = next(members, None)
        if first is None or first.name != HEAD:
            raise self._refusal("it does not begin as one")
        head = self._head(self._read(first))
        draft = self.store.scratch / f"import-{uuid.uuid4().hex}"
        make_folder(draft)
        try:
            for member in members:
                self._take(member, draft)
            if (self.objects, len(self.records), self.files) != (head["objects"], head["records"], head["files"]):
                raise self._refusal("it is cut short")
            self._finish(head, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Contents(
            run=head["run"], objects=self.objects, records=len(self.records), files=self.files, bytes=self.bytes
        )

    def _members(self) -> Iterator[tarfile.TarInfo]:
        """The members, none but plain files, none twice."""
        for member in self.tar:
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
                raise self._refusal(f"'{member.name}' is not a plain file")
            if member.name in self.seen:
                raise self._refusal(f"'{member.name}' is in it twice")
            self.seen.add(member.name)
            self.bytes += member.size
            yield member

    def _take(self, member: tarfile.TarInfo, draft: Path) -> None:
        if found := OBJECT.fullmatch(member.name):
            self._take_object(member, found[1])
        elif found := RECORD.fullmatch(member.name):
            record = parse_record(self._read(member))
            if record is None or record.key != found[1]:
                raise self._refusal(f"'{member.name}' is damaged")
            self.records.append(record)
        elif member.name.startswith("run/"):
            self._take_file(member, draft / safe_path(member.name[4:], self._refusal))
        else:
            raise self._refusal(f"'{member.name}' does not belong there")

    def _take_object(self, member: tarfile.TarInfo, hash: str) -> None:
        stream = self._stream(member)
        with self.store.objects.writing() as writer:
            while piece := stream.read(CHUNK):
                writer.write(piece)
            if writer.digest() != hash:
                raise self._refusal(f"object {hash[:12]} is damaged")
        self.objects += 1

    def _take_file(self, member: tarfile.TarInfo, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(self._stream(member), file)
            synced(file, path)
        self.files += 1

    def _finish(self, head: Json, draft: Path) -> None:
        """Let the records be found, then the run."""
        for record in self.records:
            for hash in record.objects:
                self.store.objects.path(hash)  # there and sound; fetched, when there is a second store
            self.store.records.write(record)
        for name, hash in head["links"].items():
            path = draft / safe_path(name, self._refusal)
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.store.objects.path(hash).open("rb") as source, path.open("xb") as file:
                shutil.copyfileobj(source, file)
        target = self.store.runs / head["run"]
        if not target.exists():
            _move_paths(draft / "run.json", head["folder"], str(target))
            rename(draft, target)
            sync_folder(target.parent)

    def _head(self, data: bytes) -> Json:
        try:
            head = json.loads(data)
            if head["format"] != FORMAT:
                raise self._refusal(f"its format is {head['format']}, expected {FORMAT}")
            are_hashes = all(HASH.fullmatch(hash) for hash in head["links"].values())
            is_right = RUN_ID.fullmatch(head["run"]) and are_hashes and isinstance(head["folder"], str)
            counts = [head[name] for name in ("objects", "records", "files")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._refusal("it does not begin as one") from error
        if not is_right or not all(isinstance(count, int) for count in counts):
            raise self._refusal("it does not begin as one")
        return head

    def _read(self, member: tarfile.TarInfo) -> bytes:
        if member.size > LARGEST_RECORD:
            raise self._refusal(f"'{member.name}' is larger than such a file ever is")
        return self._stream(member).read()

    def _stream(self, member: tarfile.TarInfo) -> IO[bytes]:
        stream = self.tar.extractfile(member)
        assert stream is not None, "plain files have content"
        return stream

    def _refusal(self, reason: str) -> ArchiveError:
        hint = "nothing of the run has been taken over; export it again where it comes from"
        return ArchiveError(f"this is no export of a run that can be used: {reason}", path=self.name, hint=hint)


def safe_path(name: str, refusal: Any) -> Path:
    """A path below a folder, from a file of others. Raises what `refusal` makes of a reason."""
    path = PurePosixPath(name)
    parts = name.split("/")
    is_plain = all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts)
    if path.is_absolute() or not is_plain or ":" in parts[0] or len(name) > 1000:
        raise refusal(f"'{name}' leads out of the folder of the run")
    return Path(*parts)


def _object_of(store: Store, path: Path, hashes: list[str]) -> str | None:
    """The object that a file in a run's folder is a copy of."""
    hash = read_hash(path)
    return hash if hash in hashes else None


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _move_paths(manifest: Path, before: str, after: str) -> None:
    """Let the manifest of a run name the files where they are now."""
    if not manifest.exists():
        return
    data = json.loads(manifest.read_bytes())

    def moved(path: Json) -> Json:
        is_inside = isinstance(path, str) and path.startswith(before)
        return after + path[len(before) :] if is_inside else path

    data["folder"] = moved(data.get("folder"))
    for model in data.get("models", {}).values():
        model["path"] = moved(model.get("path"))
    manifest.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    member = tarfile.TarInfo(name)
    with path.open("rb") as file:
        member.size = path.stat().st_size
        tar.addfile(member, file)
