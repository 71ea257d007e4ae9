"""Targets: built in, and from `etude.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.targets import Target, TargetError, find_target, read_targets


def written(folder: Path, text: str) -> Path:
    path = folder / "etude.toml"
    path.write_text(text)
    return path


def test_some_targets_are_built_in(tmp_path: Path) -> None:
    assert find_target("cpu", [tmp_path]) == Target(name="cpu")
    assert find_target("gpu", [tmp_path]).device == "cuda"


def test_a_file_adds_targets_and_changes_built_in_ones(tmp_path: Path) -> None:
    written(tmp_path, '[target.lab]\nbackend = "jax"\ndevice = "cuda"\n[target.cpu]\nbackend = "torch"\n')
    assert find_target("lab", [tmp_path]) == Target(name="lab", backend="jax", device="cuda")
    assert find_target("cpu", [tmp_path]) == Target(name="cpu", backend="torch")


def test_the_first_folder_that_has_it_counts(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    written(inner, '[target.lab]\nbackend = "jax"\n')
    written(tmp_path, '[target.lab]\nbackend = "torch"\n[target.other]\n')
    assert find_target("lab", [inner, tmp_path]).backend == "jax"
    assert find_target("other", [inner, tmp_path]).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[target.x]\nmesh = "big"\n', "nothing reads 'mesh' of the target 'x'"),
        ('[target.x]\ndevice = "abacus"\n', "'device' of the target 'x' cannot be 'abacus'"),
        ("[target.x\n", "etude.toml"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        read_targets(written(tmp_path, text))


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    written(tmp_path, "[target.lab]\n")
    with pytest.raises(TargetError) as caught:
        find_target("pod", [tmp_path])
    assert caught.value.hint == "there are cpu, gpu, tpu, lab"
