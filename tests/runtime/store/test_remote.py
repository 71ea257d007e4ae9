from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.runtime.store import MissingObject, Store, StoreError, remote
from etude.runtime.store.inspection import verify_store
from etude.runtime.store.transfer import pull_run, push_run, runs_of

MakeRun = Callable[..., str]


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty second store."""
    pytest.importorskip("fsspec")
    return f"memory://{uuid.uuid4().hex}/store" if request.param == "memory" else f"file://{tmp_path}/second"


@pytest.fixture
def pushed(store: Store, make_run: MakeRun, url: str) -> Store:
    """A store whose one run was sent to the second one."""
    make_run("20260101-a", "one", "two", model=b"weights")
    source = Store(store.root, remote=url)
    assert (push_run(source, "20260101-a").objects, push_run(source, "20260101-a").objects) == (3, 0)
    return source


def file_of(url: str, name: str) -> Path:
    return Path(url.removeprefix("file://")) / name


def test_results_are_found_in_the_second_store_and_kept(pushed: Store, url: str, tmp_path: Path) -> None:
    here = Store(tmp_path / "here", remote=url)
    for key in pushed.records.all_keys():
        record = here.record(key)
        assert record == pushed.record(key) and record is not None
        hash = record.outputs["data"]
        assert here.objects.read(hash) == pushed.objects.read(hash)
        assert here.objects.path(hash).read_bytes() == pushed.objects.read(hash)
    alone = Store(here.root)
    assert set(alone.records.all_keys()) == set(pushed.records.all_keys())
    assert verify_store(alone).is_sound


def test_a_run_is_brought_with_all_that_it_needs(pushed: Store, url: str, tmp_path: Path) -> None:
    here = Store(tmp_path / "here", remote=url)
    assert here.remote is not None and runs_of(here.remote) == ["20260101-a"]
    pull_run(here, "20260101-a")
    alone = Store(here.root)
    assert sum(1 for _ in alone.records) == 2 and verify_store(alone).is_sound
    assert (alone.runs / "20260101-a" / "models" / "net.safetensors").read_bytes() == b"weights"


def test_what_is_not_there_is_not_found(url: str, tmp_path: Path) -> None:
    here = Store(tmp_path / "here", remote=url)
    assert here.record("0" * 64) is None
    with pytest.raises(MissingObject):
        here.objects.read("0" * 64)
    with pytest.raises(StoreError, match="there is no run 'x'"):
        pull_run(here, "x")


@pytest.mark.parametrize("url", ["file"], indirect=True)
@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"?", lambda data: data[:3]])
def test_an_object_that_is_not_what_its_name_says_is_not_used(
    pushed: Store, url: str, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    record = next(iter(pushed.records))
    (hash,) = record.outputs.values()
    path = file_of(url, f"objects/{hash[:2]}/{hash[2:]}")
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))
    here = Store(tmp_path / "here", remote=url)
    with pytest.raises(MissingObject):
        here.objects.read(hash)
    assert list(here.objects) == [] and here.record(record.key) is None
    assert push_run(Store(pushed.root, remote=url), "20260101-a").objects == 1, "what is damaged is sent again"
    assert here.objects.read(hash) == pushed.objects.read(hash)


def test_far_away_sizes_are_compared_unless_all_is_to_be_verified(
    pushed: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "NEAR", set())
    source = Store(pushed.root, remote=url)
    (hash,) = next(iter(pushed.records)).outputs.values()
    assert source.remote is not None
    files, path = source.remote._file(f"objects/{hash[:2]}/{hash[2:]}")
    right = files.cat_file(path)
    if "file" in files.protocol:
        Path(path).chmod(0o644)
    files.pipe_file(path, right[:-1] + b"?")

    assert push_run(source, "20260101-a").objects == 0
    assert push_run(source, "20260101-a", verify=True).objects == 1
    assert files.cat_file(path) == right


def test_who_asks_often_is_given_a_list(pushed: Store, url: str, tmp_path: Path) -> None:
    here = Store(tmp_path / "here", remote=url)
    assert here.remote is not None
    files, _ = here.remote._files()
    asked: Counter[str] = Counter()
    spy = Spy(files, asked)
    here.remote._opened = (spy, here.remote._files()[1])

    assert all(here.record(f"{number:064x}") is None for number in range(300))
    for key in pushed.records.all_keys():
        assert here.record(key) == pushed.record(key)
    assert asked["info"] + asked["find"] <= 2 * remote.SINGLE + 2
    assert asked["find"] >= 1


class Spy:
    """A file system of fsspec that counts what it is asked."""

    def __init__(self, files: Any, asked: Counter[str]) -> None:
        self._files, self._asked = files, asked

    def __getattr__(self, name: str) -> Any:
        self._asked[name] += 1
        return getattr(self._files, name)


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_a_damaged_record_is_not_believed(pushed: Store, url: str, tmp_path: Path) -> None:
    (key, *_) = pushed.records.all_keys()
    path = file_of(url, f"records/{key[:2]}/{key[2:]}.json")
    path.write_bytes(path.read_bytes().replace(b'"map"', b'"mop"'))
    assert Store(tmp_path / "here", remote=url).record(key) is None


def test_a_second_store_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    here = Store(tmp_path / "here", remote="nosuch://bucket")
    with pytest.raises(StoreError, match=r"nosuch://bucket: the second store does not answer"):
        here.record("0" * 64)


def test_without_a_second_store_nothing_can_be_sent(store: Store, make_run: MakeRun) -> None:
    make_run("20260101-a", "one")
    with pytest.raises(StoreError, match="no second store is named"):
        push_run(store, "20260101-a")
