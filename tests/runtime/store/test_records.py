from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from etude.runtime.store import Record, Store, files

KEY = "ab" * 32
KILLED = """
import os, sys
from etude.runtime.store import Record, Store
store = Store(sys.argv[1])
hash = store.objects.put(b"output")
os.link = lambda *_: os._exit(9)
store.records.write(Record(key="ab" * 32, kind="map", outputs={"data": hash}, objects={hash: 6}, seconds=1, created=0))
"""


def record(store: Store, data: bytes = b"output") -> Record:
    hash = store.objects.put(data)
    return Record(
        key=KEY,
        kind="map",
        outputs={"data": hash},
        objects={hash: len(data)},
        seconds=1.0,
        created=2.0,
        made={"rows": 3},
    )


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    assert store.record(KEY) is None
    written = store.records.write(record(store))
    assert store.record(KEY) == written == record(store)
    assert list(store.records) == [written]


def test_of_many_records_for_one_key_the_first_counts_for_all(store: Store) -> None:
    candidates = [replace(record(store), created=float(i)) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(Store(store.root).records.write, candidates))
    assert len({each.created for each in results}) == 1
    assert store.record(KEY) == results[0]


def test_a_process_killed_while_writing_a_record_leaves_none(store: Store) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(store.root)])
    assert ended.returncode == 9
    assert store.record(KEY) is None
    assert store.records.write(record(store)) == store.record(KEY)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"cut")])
def test_a_record_whose_object_is_gone_or_cut_short_is_not_believed(store: Store, damage: object) -> None:
    written = store.records.write(record(store))
    path = store.objects.locate(written.outputs["data"])
    path.chmod(0o644)
    assert callable(damage)
    damage(path)
    assert store.record(KEY) is None
    other = store.objects.put(b"made anew")
    again = replace(written, outputs={"data": other}, objects={other: 9})
    assert store.records.write(again) == again == store.record(KEY)


def test_a_record_is_believed_again_when_its_object_is_back(store: Store) -> None:
    written = store.records.write(record(store))
    store.objects.locate(written.outputs["data"]).unlink()
    assert store.record(KEY) is None
    assert store.records.write(replace(record(store), seconds=9.0)) == written == store.record(KEY)


def test_no_byte_of_a_record_can_be_changed_unnoticed(store: Store) -> None:
    written = store.records.write(record(store))
    path = store.records.locate(KEY)
    sound = path.read_bytes()
    believed = []
    for position in range(len(sound)):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        believed.append(store.record(KEY))
    assert set(map(str, believed)) <= {"None", str(written)}
    assert believed.count(None) > 0.9 * len(sound)


@pytest.mark.parametrize("text", ["", "{", '{"format": 1}', '{"format": 99}', "[]"])
def test_a_file_that_is_no_record_is_not_believed(store: Store, text: str) -> None:
    store.records.write(record(store))
    (path,) = store.records.folder.glob("*/*.json")
    path.write_text(text)
    assert store.record(KEY) is None


def test_without_hard_links_a_name_is_still_taken_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(files.os, "link", no_links)
    first = store.records.write(record(store))
    second = store.records.write(replace(record(store), seconds=9.0))
    assert first == second == store.record(KEY)


def test_a_removed_record_is_gone(store: Store) -> None:
    store.records.write(record(store))
    store.records.remove(KEY)
    assert store.record(KEY) is None


SCANNED = {"rewrites": {"scan": {"is_used": True}}}


@pytest.mark.parametrize(
    ("made", "is_exact"),
    [
        ({"rewrites": {"scan": {"is_used": False}}}, True),
        ({"backend": {"backend": "torch"}}, True),
        (SCANNED, False),
        ({"backend": {"backend": "torch", "compile": True}}, False),
        ({"backend": {"backend": "jax", "mesh": {"data": 2}}}, False),
    ],
)
def test_a_strict_store_finds_records_that_are_exact_and_puts_such_in_the_place_of_others(
    store: Store, made: dict[str, Any], is_exact: bool
) -> None:
    loose = store.records.write(replace(record(store), made=made))
    store.records.is_strict = True

    assert store.record(KEY) == (loose if is_exact else None)
    again = store.records.write(record(store))
    assert store.record(KEY) == again == (loose if is_exact else record(store))
