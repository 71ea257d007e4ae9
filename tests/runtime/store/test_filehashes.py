from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from etude.runtime.store import Store
from etude.runtime.store import filehashes as module


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files whose bytes were hashed."""
    seen: list[str] = []
    real = hashlib.file_digest

    def counting(file: object, name: str) -> object:
        seen.append(Path(file.name).name)  # type: ignore[attr-defined]
        return real(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(module.hashlib, "file_digest", counting)
    return seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once."""
    monkeypatch.setattr(module, "RACY_NANOSECONDS", -1)


def test_an_unchanged_file_is_read_once(store: Store, numbers: Path, reads: list[str], settled: None) -> None:
    first = store.hash_file(numbers)
    assert first == hashlib.sha256(numbers.read_bytes()).hexdigest()
    assert Store(store.root).hash_file(numbers) == first
    assert reads == ["numbers.csv"]


def test_a_file_edited_in_place_is_read_again(store: Store, numbers: Path, reads: list[str], settled: None) -> None:
    first = store.hash_file(numbers)
    numbers.write_text(numbers.read_text().replace("4.5", "9.5"))
    assert store.hash_file(numbers) != first


def test_an_edit_that_keeps_size_and_time_is_noticed(
    store: Store, numbers: Path, reads: list[str], settled: None
) -> None:
    first, stat = store.hash_file(numbers), numbers.stat()
    time.sleep(0.02)
    numbers.write_text(numbers.read_text().replace("4.5", "9.5"))
    os.utime(numbers, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert numbers.stat().st_mtime_ns == stat.st_mtime_ns
    assert store.hash_file(numbers) != first


def test_a_file_changed_a_moment_ago_is_not_remembered(store: Store, numbers: Path, reads: list[str]) -> None:
    """Another change within the clock's grain would not show in its times."""
    store.hash_file(numbers)
    store.hash_file(numbers)
    assert reads == ["numbers.csv", "numbers.csv"]


def test_a_broken_table_is_thrown_away(store: Store, numbers: Path, settled: None) -> None:
    (store.root / "files.sqlite").write_bytes(b"not a database" * 100)
    first = store.hash_file(numbers)
    assert store.hash_file(numbers) == first


def test_an_index_that_is_cut_short_is_thrown_away_and_made_again(
    store: Store, numbers: Path, reads: list[str], settled: None
) -> None:
    first = store.hash_file(numbers)
    index = store.root / "files.sqlite"
    data = index.read_bytes()
    for length in range(1, len(data), 1000):
        index.write_bytes(data[:length])
        assert Store(store.root).hash_file(numbers) == first
    assert Store(store.root).hash_file(numbers) == first
    index.chmod(0o444)
    assert Store(store.root).hash_file(numbers) == first


def test_a_file_from_the_future_is_read_each_time(store: Store, numbers: Path, reads: list[str]) -> None:
    """The clock was set back: a change could not be told from what was there before."""
    os.utime(numbers, (4e9, 4e9))
    store.hash_file(numbers)
    store.hash_file(numbers)
    assert reads == ["numbers.csv", "numbers.csv"]
