from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from etude.backends.numpy.fresh import fresh_weight
from etude.compiler.workflow import ModelBinding
from etude.runtime.export import export_model, place_file, read_tensors
from etude.runtime.store import LostObject, Store

FIRST = {"0": np.arange(6, dtype=np.float32).reshape(2, 3), "1": np.float32([7, 8])}
SECOND = {"0": np.int32([[1], [2]])}
FRESH = {"fresh": {"structure": "abcd", "ordinal": 1, "seed": 3}, "init": {"kind": "normal", "std": 0.1}}


@pytest.fixture
def outputs(store: Store) -> dict[str, dict[str, str]]:
    return {"s1": {"0": store.objects.put(save(FIRST))}, "s2": {"0": store.objects.put(save(SECOND))}}


def binding(*weights: tuple[str, tuple[int, ...], object]) -> ModelBinding:
    return ModelBinding("net", weights)


NET = binding(
    ("head.w", (2, 3), {"input": ["s1", "0", 0]}),
    ("count", (2, 1), {"input": ["s2", "0", 0]}),
    ("head.b", (2,), {"input": ["s1", "0", 1]}),
    ("new", (4, 5), FRESH),
)


def test_the_weights_of_a_binding_are_gathered_under_their_paths(
    store: Store, outputs: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    hash = export_model(store, NET, outputs)
    assert hash is not None
    place_file(store, hash, tmp_path / "models" / "net.safetensors")
    found = load_file(tmp_path / "models" / "net.safetensors")
    assert set(found) == {"head.w", "head.b", "count", "new"}
    assert np.array_equal(found["head.w"], FIRST["0"]) and np.array_equal(found["head.b"], FIRST["1"])
    assert np.array_equal(found["count"], SECOND["0"]) and found["count"].dtype == np.int32
    assert np.array_equal(found["new"], fresh_weight((4, 5), FRESH["init"], **FRESH["fresh"]))  # type: ignore[arg-type]


def test_an_export_is_made_once(store: Store, outputs: dict[str, dict[str, str]]) -> None:
    first = export_model(store, NET, outputs)
    (record,) = store.records
    assert record.kind == "export" and record.outputs == {"file": first}
    assert export_model(store, NET, outputs) == first
    assert list(store.records) == [record]


def test_a_model_whose_stage_failed_is_not_exported(store: Store, outputs: dict[str, dict[str, str]]) -> None:
    assert export_model(store, NET, {"s1": outputs["s1"]}) is None


def test_tensors_are_read_as_they_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(FIRST, metadata={"format": "np"}))
    pieces = read_tensors(path)
    assert {name: (piece.dtype, piece.shape) for name, piece in pieces.items()} == {
        "0": ("F32", (2, 3)),
        "1": ("F32", (2,)),
    }
    assert pieces["0"].data == FIRST["0"].tobytes()


def test_a_file_that_is_there_already_stays(store: Store, tmp_path: Path) -> None:
    hash = store.objects.put(b"one")
    place_file(store, hash, tmp_path / "file")
    place_file(store, store.objects.put(b"two"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"one"


def test_a_damaged_export_is_not_placed_and_the_next_one_is_made_anew(
    store: Store, outputs: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    hash = export_model(store, NET, outputs)
    assert hash is not None
    sound = store.objects.read(hash)
    path = store.objects.locate(hash)
    path.chmod(0o644)
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(LostObject):
        place_file(store, hash, tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()
    assert export_model(store, NET, outputs) == hash
    place_file(store, hash, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == sound


def test_a_model_is_not_exported_from_damaged_weights(store: Store, outputs: dict[str, dict[str, str]]) -> None:
    path = store.objects.locate(outputs["s1"]["0"])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(LostObject):
        export_model(store, NET, outputs)


def test_without_links_a_copy_is_placed_whole(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hash = store.objects.put(b"weights")

    def no_links(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr("os.link", no_links)
    place_file(store, hash, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == b"weights"
    assert list(store.scratch.iterdir()) == []
