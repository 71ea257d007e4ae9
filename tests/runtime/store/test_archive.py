from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from etude.compiler.keys import canonical_json
from etude.runtime.runs import read_run
from etude.runtime.store import LostObject, Store
from etude.runtime.store.archive import ArchiveError, export_run, import_run
from etude.runtime.store.inspection import verify_store

MakeRun = Callable[..., str]
Members = dict[str, bytes]


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


@pytest.fixture
def file(store: Store, make_run: MakeRun, tmp_path: Path) -> Path:
    """The export of a run of two stages and a model."""
    make_run("20260101-a", "one", "two", model=b"weights")
    export_run(store, "20260101-a", tmp_path / "run.tar")
    return tmp_path / "run.tar"


def members(file: Path) -> Members:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def packed(file: Path, contents: Members, *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return file


def is_untouched(store: Store) -> bool:
    return list(store.records.all_keys()) == [] and list(store.runs.iterdir()) == []


def test_a_run_comes_to_another_store_with_its_results(store: Store, other: Store, file: Path) -> None:
    contents = import_run(other, file)
    assert (contents.run, contents.objects, contents.records) == ("20260101-a", 3, 2)
    assert set(other.records.all_keys()) == set(store.records.all_keys())
    assert verify_store(other).is_sound
    folder = other.runs / "20260101-a"
    assert (folder / "notes.txt").read_text() == "notes of 20260101-a"
    assert (folder / "models" / "net.safetensors").read_bytes() == b"weights"
    manifest = read_run(folder).manifest
    assert manifest is not None and manifest["models"]["net"]["path"] == str(folder / "models" / "net.safetensors")
    assert list(other.scratch.iterdir()) == []


def test_a_run_that_is_there_keeps_its_folder_and_gets_its_results_back(store: Store, file: Path) -> None:
    (key, *_) = store.records.all_keys()
    store.records.remove(key)
    import_run(store, file)
    assert store.record(key) is not None
    assert [path.name for path in store.runs.iterdir()] == ["20260101-a"]


def test_a_file_is_the_same_whenever_it_is_written(store: Store, file: Path, tmp_path: Path) -> None:
    export_run(store, "20260101-a", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == file.read_bytes()


def test_what_is_damaged_is_not_exported(store: Store, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("20260101-b", "one")
    (hash,) = store.objects
    store.objects.locate(hash).chmod(0o644)
    store.objects.locate(hash).write_bytes(b"Content of one")
    with pytest.raises(LostObject):
        export_run(store, "20260101-b", tmp_path / "run.tar")
    assert not (tmp_path / "run.tar").exists() and list(tmp_path.glob(".run.tar*")) == []


def test_no_byte_of_a_file_can_be_changed_with_an_effect_and_unnoticed(
    other: Store, file: Path, tmp_path: Path
) -> None:
    """A flipped byte is refused, or stands where nothing is: in the padding."""
    sound, refused = file.read_bytes(), 0
    expected = {b"content of one", b"content of two", b"weights"}
    for position in range(0, len(sound), 97):
        broken = tmp_path / "broken.tar"
        broken.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        store = Store(tmp_path / "stores" / str(position))
        try:
            import_run(store, broken)
        except ArchiveError:
            refused += 1
            assert is_untouched(store)
        found = verify_store(store)
        assert found.is_sound
        assert {store.objects.read(hash) for hash in store.objects} <= expected
        for run in store.runs.iterdir():
            assert (run / "notes.txt").read_text() == "notes of 20260101-a"
            assert read_run(run).manifest is not None
    assert refused > 3


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_a_file_that_is_cut_short_is_refused(other: Store, file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArchiveError):
        import_run(other, file)
    assert is_untouched(other)


@pytest.mark.parametrize(
    "name", ["run/../../evil", "/etc/evil", "run//evil", "run/./evil", "run/a/../../../evil", "evil", "run/c:evil"]
)
def test_a_name_that_leads_elsewhere_is_refused(other: Store, file: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="no export of a run"):
        import_run(other, packed(file, {**members(file), name: b"evil"}))
    assert is_untouched(other)
    assert list(tmp_path.rglob("*evil*")) == []


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_nothing_but_plain_files_is_taken(other: Store, file: Path, type: bytes) -> None:
    link = tarfile.TarInfo("run/link")
    link.type, link.linkname = type, "/etc/passwd"
    with pytest.raises(ArchiveError, match="not a plain file"):
        import_run(other, packed(file, members(file), link))
    assert is_untouched(other)


def swapped(found: Members) -> Members:
    """An object under the name of another."""
    first, second, *_ = (name for name in found if name.startswith("objects/"))
    return {**found, first: found[second]}


def other_record(found: Members) -> Members:
    """A record whose outputs were changed."""
    name = next(name for name in found if name.startswith("records/"))
    return {**found, name: found[name].replace(b'"seconds":1.0', b'"seconds":2.0')}


def without_an_object(found: Members) -> Members:
    name = next(name for name in found if name.startswith("objects/"))
    return {each: data for each, data in found.items() if each != name}


def other_head(**fields: object) -> Callable[[Members], Members]:
    def change(found: Members) -> Members:
        head = {**json.loads(found["etude-run.json"]), **fields}
        del head["check"]
        check = hashlib.sha256(canonical_json(head)).hexdigest()
        return {**found, "etude-run.json": canonical_json({**head, "check": check})}

    return change


@pytest.mark.parametrize(
    "change",
    [
        swapped,
        other_record,
        without_an_object,
        other_head(run="../../evil"),
        other_head(format=9),
        other_head(links={"../evil": "0" * 64}),
        other_head(links={"models/x": "../../etc/passwd"}),
        other_head(folder=3),
        other_head(files={}),
        lambda found: {**found, "run/notes.txt": b"other"},
        lambda found: {name: data for name, data in found.items() if name != "run/notes.txt"},
        lambda found: dict(reversed(found.items())),
        lambda found: {},
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    other: Store, file: Path, change: Callable[[Members], Members]
) -> None:
    with pytest.raises(ArchiveError):
        import_run(other, packed(file, change(members(file))))
    assert list(other.runs.iterdir()) == []
    assert verify_store(other).is_sound


def test_a_file_that_is_no_tar_is_refused(other: Store, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(ArchiveError, match="no export of a run"):
        import_run(other, tmp_path / "text")
