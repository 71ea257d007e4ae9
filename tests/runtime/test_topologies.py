"""Training steps compiled for TPUs that are not there, by libtpu where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from etude.compiler.workflow import Stage
from etude.runtime import topologies
from etude.runtime.compiling import compile_file, compile_text
from etude.runtime.stages import Settings
from etude.runtime.topologies import CompiledStep, LibtpuMissingError, compile_steps, libtpu_folder, remembered_folder

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = """
digits = load("sklearn:digits")
net    = flatten >> linear(WIDTH) >> relu >> linear(10, seed = 1)
t      = train(on = digits, update = {net: net}) {
  loss   = (x, y) => cross_entropy(net(x), y)
  batch  = 64
  budget = 10steps
}
"""
JAX = Settings(backend="jax", device="tpu")


def has_libtpu() -> bool:
    try:
        libtpu_folder()
    except LibtpuMissingError:
        return False
    return True


needs_libtpu = pytest.mark.skipif(not has_libtpu(), reason="libtpu is not installed: `make setup` brings it on Linux")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def training(width: int, last: str = "linear(10") -> Stage:
    text = SMALL.replace("WIDTH", str(width)).replace("linear(10", last)
    workflow = compile_text(text, "small.etude", Path()).workflow
    assert workflow is not None
    return next(stage for stage in workflow.stages.values() if stage.kind == "train")


def example(name: str, stage: str) -> Stage:
    workflow = compile_file(EXAMPLES / f"{name}.etude").workflow
    assert workflow is not None
    return next(each for each in workflow.stages.values() if each.kind == "train" and each.name.endswith(stage))


def compiled(stages: list[Stage], topology: str) -> list[CompiledStep]:
    return list(compile_steps(stages, dict.fromkeys((stage.id for stage in stages), 1000), JAX, topology).values())


@needs_libtpu
@pytest.mark.parametrize(("topology", "chips"), [("v5e:2x2", 4), ("v4:2x2x1", 4)])
def test_steps_of_three_examples_compile_with_their_collectives(topology: str, chips: int) -> None:
    stages = [example("gan", "gan"), example("vit", "probe"), example("self_training", "first")]
    numbered = [replace(stage, id=f"s{number}") for number, stage in enumerate(stages)]

    for step in compiled(numbered, topology):
        assert step.failure is None
        assert (step.chips, step.fits, step.shared) == (chips, True, True)
        assert 0 < step.bytes < step.limit
        assert step.flops > 0
        assert dict(step.collectives)["all-reduce"] >= 1, "gradients are added up over the chips"


@needs_libtpu
def test_a_step_that_is_too_large_is_refused_with_what_it_needs_and_what_there_is() -> None:
    (step,) = compiled([training(65536, "linear(65536) >> linear(10")], "v5e:2x2")

    assert not step.fits
    assert step.failure is None
    assert step.limit < 17e9 < step.bytes


@needs_libtpu
def test_one_chip_needs_no_collectives() -> None:
    (one,) = compiled([training(32)], "v5e:1x1")

    assert (one.chips, one.collectives, one.batch) == (1, (), 64)


def test_what_was_compiled_before_needs_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = {"chips": 4, "batch": 64, "bytes": 10, "flops": 20, "moved": 30, "collectives": {}, "fits": True}
    jobs: list[str] = []

    def compiling(found: list[tuple[str, object]], folder: Path | None) -> list[tuple[str, dict[str, object]]]:
        jobs.extend(digest for digest, _ in found)
        return [(digest, dict(answer)) for digest, _ in found]

    (tmp_path / "libtpu" / "libtpu").mkdir(parents=True)
    monkeypatch.setenv(topologies.VARIABLE, str(tmp_path / "libtpu"))
    monkeypatch.setattr(topologies, "_compiled", compiling)
    first = compiled([training(32)], "v5e:2x2")
    again = compiled([training(32)], "v5e:2x2")
    other = compiled([training(33)], "v5e:2x2")

    assert first == again == other
    assert len(jobs) == 2
    assert len(list(remembered_folder().glob("*.json"))) == 2


def test_without_libtpu_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if topologies.importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is among the packages of this Python")
    monkeypatch.setenv(topologies.VARIABLE, str(tmp_path))
    with pytest.raises(LibtpuMissingError, match="compiling for TPUs needs libtpu") as caught:
        libtpu_folder()
    assert "etude-lang[tpu]" in caught.value.hint


def test_a_compiler_that_fails_or_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = {"spec": {}, "rows": 1, "memory": 1, "numerics": {}, "topology": "v5e:2x2", "job": "x"}
    (tmp_path / "endless.py").write_text("import time\nwhile True:\n    time.sleep(1)\n")
    monkeypatch.setattr(topologies, "WORKER", "no_such_module")
    ((_, failed),) = topologies._compiled([("x", job)], None)
    assert "no_such_module" in failed["error"]
    monkeypatch.setattr(topologies, "WORKER", "endless")
    monkeypatch.setattr(topologies, "SECONDS", 0.1)
    ((_, late),) = topologies._compiled([("x", job)], tmp_path)
    assert late["error"] == "not compiled within 0.1 s"
