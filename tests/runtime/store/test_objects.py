from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from etude.runtime.store import DamagedObject, Store, StoreError, filehashes

KILLED = """
import os, pathlib, sys
from etude.runtime.store import Store
store = Store(sys.argv[1])
pathlib.Path.rename = lambda *_: os._exit(9)
store.objects.put(b"half done" * 1000)
"""


def test_an_object_is_found_under_the_hash_of_its_bytes(store: Store) -> None:
    hash = store.objects.put(b"bytes")
    assert hash == hashlib.sha256(b"bytes").hexdigest()
    assert store.objects.read(hash) == b"bytes"
    assert store.objects.path(hash).read_bytes() == b"bytes"


def test_equal_json_values_are_one_object_whatever_the_order_of_their_fields(store: Store) -> None:
    first, second = store.objects.put_json({"a": 1, "b": [2.5]}), store.objects.put_json({"b": [2.5], "a": 1})
    assert first == second
    assert store.objects.read_json(first) == {"a": 1, "b": [2.5]}


def test_an_object_written_in_pieces_is_the_one_of_their_concatenation(store: Store) -> None:
    with store.objects.writing() as writer:
        writer.write(b"one ")
        writer.write(memoryview(b"two"))
    assert writer.hash == hashlib.sha256(b"one two").hexdigest()
    assert store.objects.read(writer.hash) == b"one two"


def test_a_block_that_fails_leaves_no_object_and_no_scratch_file(store: Store) -> None:
    with pytest.raises(RuntimeError), store.objects.writing() as writer:
        writer.write(b"never whole")
        raise RuntimeError
    assert list(store.objects.folder.rglob("*")) == []
    assert list(store.scratch.iterdir()) == []


def test_a_process_killed_before_the_rename_leaves_no_object_and_the_next_one_succeeds(store: Store) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(store.root)])
    hash = hashlib.sha256(b"half done" * 1000).hexdigest()
    assert ended.returncode == 9
    assert store.objects.size(hash) is None
    assert len(list(store.scratch.iterdir())) == 1
    assert store.objects.put(b"half done" * 1000) == hash
    assert store.objects.read(hash) == b"half done" * 1000


def test_what_killed_processes_left_is_removed_after_a_day(store: Store) -> None:
    old, new = store.scratch / "old", store.scratch / "new"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    store.sweep()
    assert list(store.scratch.iterdir()) == [new]


@pytest.mark.parametrize("read", ["read", "path"])
def test_a_damaged_object_is_noticed_when_it_is_loaded_and_can_be_made_anew(store: Store, read: str) -> None:
    hash = store.objects.put(b"sound")
    path = store.objects.locate(hash)
    path.chmod(0o644)
    path.write_bytes(b"wound")
    with pytest.raises(DamagedObject, match=hash[:12]):
        getattr(store.objects, read)(hash)
    assert store.objects.size(hash) is None
    store.objects.put(b"sound")
    assert store.objects.read(hash) == b"sound"


def test_a_missing_object_is_an_error_of_the_store(store: Store) -> None:
    with pytest.raises(StoreError, match="is missing"):
        store.objects.read("0" * 64)


def test_many_writers_of_one_object_do_not_disturb_each_other(store: Store) -> None:
    data = os.urandom(1 << 20)
    with ThreadPoolExecutor(8) as pool:
        hashes = set(pool.map(lambda _: Store(store.root).objects.put(data), range(16)))
    assert hashes == {hashlib.sha256(data).hexdigest()}
    assert store.objects.read(hashes.pop()) == data
    assert list(store.scratch.iterdir()) == []


def test_a_store_of_another_format_is_refused(store: Store) -> None:
    (store.root / "format").write_text("99\n")
    with pytest.raises(StoreError, match="another version"):
        Store(store.root)


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot use this folder"):
        Store(tmp_path / "file")


def test_a_store_keeps_itself_out_of_version_control(store: Store) -> None:
    assert (store.root / ".gitignore").read_text() == "*\n"


def test_where_stamps_are_trusted_a_large_object_is_read_again_only_when_it_has_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filehashes, "RACY_NANOSECONDS", -1)
    data = os.urandom(2 << 20)
    hash = store.objects.put(data)
    path = Store(store.root, verify="changed").objects.path(hash)
    monkeypatch.setattr(filehashes.hashlib, "file_digest", None)  # whoever reads it now fails
    assert Store(store.root, verify="changed").objects.path(hash) == path
    monkeypatch.undo()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedObject):
        Store(store.root, verify="changed").objects.path(hash)


def test_an_object_that_changes_while_a_process_uses_it_is_noticed(store: Store) -> None:
    hash = store.objects.put(b"sound")
    path = store.objects.path(hash)
    path.chmod(0o644)
    path.write_bytes(b"wound")
    os.utime(path, (1, 1))
    with pytest.raises(DamagedObject):
        store.objects.path(hash)
