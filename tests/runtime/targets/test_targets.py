"""Targets: built in, on hardware that is named, and from the nearest `etude.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.targets import Target, TargetError, TargetFileError, check_is_read, find_target


def written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "etude.toml").write_text(text)
    return folder


def test_some_targets_are_built_in(tmp_path: Path) -> None:
    assert find_target("cpu", tmp_path) == Target(name="cpu")
    assert find_target("gpu", tmp_path).device == "cuda"
    assert find_target("tpu", tmp_path).backend == "jax"


def test_hardware_can_be_named(tmp_path: Path) -> None:
    assert find_target("gpu:h200", tmp_path) == Target(name="gpu:h200", device="cuda", chip="h200")
    pod = find_target("tpu:v5e:2x2", tmp_path)
    assert (pod.device, pod.backend, pod.topology) == ("tpu", "jax", "v5e:2x2")


@pytest.mark.parametrize("name", ["gpu:h20", "tpu:v5e", "tpu:v9:2x2", "tpu:v5e:0x2", "pod"])
def test_what_there_is_not_is_refused_with_what_there_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError) as caught:
        find_target(name, tmp_path)
    assert caught.value.hint is not None
    assert "there are" in caught.value.hint or "v5e" in caught.value.hint


def test_an_unknown_target_gets_a_did_you_mean(tmp_path: Path) -> None:
    written(tmp_path, "[target.laboratory]\n")
    with pytest.raises(TargetError) as caught:
        find_target("laborotory", tmp_path)
    assert caught.value.hint == "did you mean 'laboratory'? there are cpu, gpu, tpu, laboratory"


def test_a_file_adds_targets_and_changes_built_in_ones(tmp_path: Path) -> None:
    written(tmp_path, '[target.lab]\nbackend = "jax"\ndevice = "gpu"\n[target.cpu]\nbackend = "torch"\n')
    assert find_target("lab", tmp_path) == Target(name="lab", backend="jax", device="cuda")
    assert find_target("cpu", tmp_path) == Target(name="cpu", backend="torch")


def test_every_setting_is_taken_over(tmp_path: Path) -> None:
    text = '[target.pod]\ndevice = "tpu"\ntopology = "v5e:2x2"\nprecision = "bf16"\nrandom = "native"\ncompile = true\n'
    text += "mesh = {data = 2, model = 2}\n"
    written(tmp_path, text + '[target.pod.stage."a.b"]\nprecision = "float32"\n')
    pod = find_target("pod", tmp_path)
    assert pod == Target(
        name="pod", device="tpu", backend="jax", topology="v5e:2x2", precision="bf16", random="native", compile=True,
        mesh={"data": 2, "model": 2}, stages={"a.b": {"precision": "float32"}},
    )  # fmt: skip
    check_is_read(pod)


def test_the_nearest_file_above_the_recipe_that_has_it_counts(tmp_path: Path) -> None:
    written(tmp_path, '[target.lab]\nbackend = "torch"\n[target.other]\n')
    inner = written(tmp_path / "inner", '[target.lab]\nbackend = "jax"\n')
    deep = inner / "deep"
    deep.mkdir()
    assert find_target("lab", deep).backend == "jax"
    assert find_target("other", deep).name == "other"


def test_the_table_of_trackers_is_left_to_others(tmp_path: Path) -> None:
    written(tmp_path, '[track]\nto = ["tensorboard"]\n[target.lab]\n')
    assert find_target("lab", tmp_path).name == "lab"


@pytest.mark.parametrize(("block", "names"), [(1, ("pod", "lab")), (2, ("pod", "four"))])
def test_the_files_of_the_manual_are_right(tmp_path: Path, block: int, names: tuple[str, ...]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "targets.md").read_text()
    folder = written(tmp_path, page.split("```toml\n")[block].partition("```")[0])
    for name in names:
        target = find_target(name, folder)
        check_is_read(target)
        assert target.settings


def test_a_file_that_is_no_toml_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"etude\.toml"):
        find_target("cpu", written(tmp_path, "[target.x\n"))


def test_a_setting_that_the_backend_does_not_read_is_refused_only_there(tmp_path: Path) -> None:
    from dataclasses import replace

    lab = find_target("lab", written(tmp_path, "[target.lab]\ncompile = false\n"))
    check_is_read(replace(lab, backend="torch"))
    with pytest.raises(TargetFileError) as caught:
        check_is_read(replace(lab, backend="jax"))
    assert [found.code for found in caught.value.diagnostics] == ["E423"]
