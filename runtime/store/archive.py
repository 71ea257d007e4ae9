"""A run as one file: a tar of what its folder holds, the records of its stages, and every object that they need.

A file from elsewhere is not believed: names must be those that an export writes, every object must hash to its name,
and nothing is visible before all of it has been read. What cannot be checked is whether a record tells the truth about
how its outputs were made: import what you would run.
"""

from __future__ import annotations

import contextlib
import hashlib
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

from etude.compiler.keys import canonical_json
from etude.runtime.store.errors import LostObject, StoreError
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
    needed = Reach.of_run(folder).with_objects_of(records).objects
    for hash in needed:
        store.objects.path(hash)
    objects = sorted(needed) if with_objects else []
    files = {_name(folder, path): read_hash(path) for path in sorted(folder.rglob("*")) if _is_kept(path)}
    own = {name: hash for name, hash in files.items() if hash not in needed}
    links = {name: hash for name, hash in files.items() if hash in needed}
    counts = {"objects": len(objects), "records": len(records)}
    head: Json = {"format": FORMAT, "run": run, "folder": str(folder), **counts, "files": own, "links": links}
    with _appearing(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, HEAD, canonical_json({**head, "check": _check(head)}))
        for hash in objects:
            _add_file(tar, f"objects/{hash}", store.objects.locate(hash))
        for record in records:
            _add(tar, f"records/{record.key}.json", format_record(record))
        for name in own:
            _add_file(tar, f"run/{name}", folder / name)
    return Contents(run=run, **counts, files=len(files), bytes=target.stat().st_size)


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[IO[bytes]]:
    """A new file that takes its name when the block ends without an error."""
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("xb") as file:
            yield file
            synced(file, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


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
        self.files: dict[str, str] = {}
        self.objects = self.bytes = 0

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
            if (self.objects, len(self.records)) != (head["objects"], head["records"]):
                raise self._refusal("it is cut short")
            if self.files != head["files"]:
                raise self._refusal("files of the run are damaged or missing")
            self._finish(head, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Contents(
            run=head["run"], objects=self.objects, records=len(self.records), files=len(self.files), bytes=self.bytes
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
            self._take_file(member, draft, member.name[4:])
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

    def _take_file(self, member: tarfile.TarInfo, draft: Path, name: str) -> None:
        path = draft / safe_path(name, self._refusal)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(self._stream(member), file)
            synced(file, path)
        self.files[name] = read_hash(path)

    def _finish(self, head: Json, draft: Path) -> None:
        """Let the records be found, then the run."""
        try:  # all that is named is there and sound; fetched, when there is a second store
            for hash in {*head["links"].values(), *(hash for record in self.records for hash in record.objects)}:
                self.store.objects.path(hash)
        except LostObject as error:
            raise self._refusal(error.message) from error
        for record in self.records:
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
            check = head.pop("check")
            are_hashes = all(HASH.fullmatch(hash) for hash in head["links"].values())
            is_right = RUN_ID.fullmatch(head["run"]) and are_hashes and isinstance(head["folder"], str)
            counts = [head["objects"], head["records"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._refusal("it does not begin as one") from error
        if check != _check(head) or not is_right or not all(isinstance(count, int) for count in counts):
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


def _check(head: Json) -> str:
    return hashlib.sha256(canonical_json(head)).hexdigest()


def _is_kept(path: Path) -> bool:
    return path.is_file() and path.name not in TRANSIENT


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
