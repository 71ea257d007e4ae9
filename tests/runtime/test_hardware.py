"""Memory and time on hardware that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.devices import GPUS, TPUS
from etude.runtime.estimates import Estimate, estimate_stages
from etude.runtime.hardware import OnHardware, on_hardware
from etude.runtime.stages import Settings
from etude.runtime.targets import Target, find_target

RECIPE = """
digits = load("sklearn:digits")
net    = flatten >> linear(WIDTH) >> relu >> linear(10)
t      = train(on = digits, update = {net: net}) {
  loss      = (x, y) => cross_entropy(net(x), y)
  optimizer = adamw(lr = 1e-3)
  batch     = 64
  budget    = 100steps
}
accuracy_of = measure(digits, ({image, label}) => argmax(t.net(image)) == label)
"""


def workflow_of(width: int = 512, layers: int = 1) -> Workflow:
    hidden = " >> relu >> ".join(f"linear({width}, seed = {number})" for number in range(layers))
    text = RECIPE.replace("linear(WIDTH)", hidden)
    found = compile_text(text, "recipe.etude", Path())
    assert found.workflow is not None, found.diagnostics
    return found.workflow


def on(target: Target, workflow: Workflow, precision: str = "float32") -> OnHardware:
    settings = Settings(backend="torch", device="cuda", precision=precision)  # type: ignore[arg-type]
    return on_hardware(workflow, estimate_stages(workflow, Path()), [], target, settings)


def training(found: OnHardware, workflow: Workflow) -> Estimate:
    return next(found.estimates[id] for id, stage in workflow.stages.items() if stage.kind == "train")


@pytest.mark.parametrize("name", GPUS)
def test_a_training_takes_its_state_and_what_its_gradients_need(name: str, tmp_path: Path) -> None:
    workflow = workflow_of()
    estimate = training(on(find_target(f"gpu:{name}", tmp_path), workflow), workflow)
    weights = 4 * (64 * 512 + 512 + 512 * 10 + 10)
    columns = 1797 * (64 * 4 + 4)

    # weights, gradients and the two moments of AdamW; then the batch's values, of which the hidden layer's are most
    assert 4 * weights + columns < estimate.device_bytes < 4 * weights + columns + 6 * 64 * 512 * 4
    assert estimate.limit == GPUS[name].memory
    assert estimate.fits
    assert estimate.seconds > 0


def test_what_is_too_large_for_one_fits_another(tmp_path: Path) -> None:
    workflow = workflow_of(60_000_000)
    small, large = (training(on(find_target(f"gpu:{name}", tmp_path), workflow), workflow) for name in ("l4", "b200"))

    assert not small.fits
    assert large.fits


def test_bf16_is_faster_where_computing_decides(tmp_path: Path) -> None:
    workflow = workflow_of(20_000, layers=2)
    h200 = find_target("gpu:h200", tmp_path)
    slow, fast = (training(on(h200, workflow, precision), workflow) for precision in ("float32", "bf16"))

    assert fast.seconds < slow.seconds


def test_parts_of_a_batch_take_less_memory(tmp_path: Path) -> None:
    text = RECIPE.replace("linear(WIDTH)", "linear(20000)")
    found = []
    for setting in ("", "  accumulate = 8\n"):
        workflow = compile_text(
            text.replace("  batch     = 64\n", f"  batch     = 64\n{setting}"), "r.etude", Path()
        ).workflow
        assert workflow is not None
        found.append(training(on(find_target("gpu:l4", tmp_path), workflow), workflow).device_bytes)

    assert found[0] - found[1] > 7 / 8 * 64 * 20000 * 4  # seven eighths of the hidden layer, and of what follows it


def test_in_bf16_the_gradient_needs_half_of_what_products_read(tmp_path: Path) -> None:
    layers = " >> ".join(f"linear(512, seed = {number}) >> (x => x * 0.5)" for number in range(4))
    workflow = compile_text(
        RECIPE.replace("linear(WIDTH)", layers).replace("64\n", "1024\n"), "r.etude", Path()
    ).workflow
    assert workflow is not None
    h200 = find_target("gpu:h200", tmp_path)
    full, half = (training(on(h200, workflow, precision), workflow).device_bytes for precision in ("float32", "bf16"))

    # what four products read is half as large, less the copies of weights and what stands in float32 at the last
    assert full - half > 1024 * 512 * 2


def test_a_target_without_hardware_is_left_to_the_machine() -> None:
    workflow = workflow_of()
    found = on(Target(name="gpu", device="cuda"), workflow)

    assert found.chip is None
    assert training(found, workflow).limit is None


def test_the_tables_are_of_sensible_size() -> None:
    for chip in (*GPUS.values(), *TPUS.values()):
        assert 15e9 < chip.memory < 200e9
        assert 2e11 < chip.bandwidth < 1e13
        assert 1e12 < chip.float32 <= chip.bf16 < 1e16
