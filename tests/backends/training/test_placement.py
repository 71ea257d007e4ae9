"""An emitted step needs nothing but the device it is given: shown without one, by tensors that have no storage.

PyTorch's `meta` device stands for an accelerator. A step that made a tensor on the host would mix devices, and one that
read a number back would wait for the device; both are refused here, where no accelerator is. Steps for JAX are lowered
for CUDA, which needs none either. The numbers themselves are compared where there is one (`test_cuda.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import pytest
import torch
from torch import Tensor

from etude.backends.jax.ahead_of_time import Step
from etude.backends.modules import load_source
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.torch.emit import emit_train
from etude.runtime.compiling import compile_file

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("*.etude"))
MEMORY = 16 << 30


def distinct_steps(recipe: Path) -> dict[str, Any]:
    """The spec of each training of a recipe by its name, of equal programs the first."""
    workflow = compile_file(recipe).workflow
    assert workflow is not None
    found = {}
    for stage in workflow.stages.values():
        if stage.kind == "train":
            found.setdefault(tuple(step["loss"]["digest"] for step in stage.spec["steps"]), stage)
    return {stage.name: stage.spec for stage in found.values()}


def one_step(spec: Any, device: str, only_on: Any, numerics: Numerics = PORTABLE) -> Mapping[str, Tensor]:
    """A step of the emitted module with everything on the device; the terms of its loss."""
    step = Step(spec, rows=None, memory=MEMORY)
    # the fused optimizers of a GPU have no kernel for tensors without storage; theirs is PyTorch's own business
    module = load_source(emit_train(spec, numerics).source.replace("fused=True", "foreach=True"))
    given, models = step.arguments(), module.Models().to(device)
    batch = {
        name: torch.zeros((step.batch, *column.shape[1:]), dtype=getattr(torch, str(column.dtype)), device=device)
        for name, column in given["data"].items()
    }
    batch |= {name: on_device(value, device) for name, value in given.get("clock", {}).items()}
    carried = [{n: on_device(value, device) for n, value in given["state"].items()}] if "state" in given else []
    players = len(spec["steps"])
    with only_on(device):
        found = module.step(
            models, module.optimizers(models), batch, *carried, 7, 0.1 if players == 1 else (0.1,) * players
        )
        if spec.get("valid"):
            held = {f"@held.{name}": value for name, value in (carried[0] if carried else {}).items()}
            checked = module.evaluate(models, batch | held, 7)
            assert all(term.device.type == device for term in checked.values())
    terms, *state = found if isinstance(found, tuple) else (found,)
    # a number on the host is taken into a sum, but a mean of the steps' terms is stacked first
    assert all(value.device.type == device for values in (terms, *state) for value in values.values())
    return terms  # type: ignore[no-any-return]


def on_device(value: Any, device: str) -> Tensor:
    return torch.zeros(value.shape, dtype=getattr(torch, str(value.dtype)), device=device)


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_a_torch_step_stays_on_its_device_and_reads_nothing_back(recipe: Path, only_on: Any) -> None:
    for name, spec in distinct_steps(recipe).items():
        assert one_step(spec, "meta", only_on), name


STEPS = """
digits = load("sklearn:digits") |> split(train = 80%, valid = 20%)
net    = flatten >> linear(16) >> tanh >> linear(10)
t      = train(on = digits.train, valid = digits.valid, update = {net: net}) {
  SETTINGS
}
accuracy_of = measure(digits.valid, ({image, label}) => argmax(t.net(image)) == label)
"""
LOSSES = {
    "a constant term": "loss = (x, y) => {entropy: cross_entropy(net(x), y), offset: 0.5}",
    "a stack of numbers": "loss = (x, y) => cross_entropy(net(x), y) * mean(stack([1.0, 2.0]))",
    "a number of its own": "loss = (x, y) => cross_entropy(net(x) + broadcast(0.5, [10]), y)",
    "draws of its own": "loss = (x, y) => cross_entropy(net(x + 0.1 * normal(x.shape)), y) * mean(uniform([2]))",
    "parts of a batch": "accumulate = 2\n  loss = (x, y) => cross_entropy(net(x), y)",
    "an own optimizer": "optimizer = adafactor(lr = 1e-2)\n  loss = (x, y) => cross_entropy(net(x), y)",
    "another one": "optimizer = lamb(lr = 1e-2)\n  loss = (x, y) => cross_entropy(net(x), y)",
    "and another one": "optimizer = lars(lr = 1e-2)\n  loss = (x, y) => cross_entropy(net(x), y)",
    "a state": "state = {seen: zeros([])}\n  loss = ({image, label}, {net, seen}) => {\n"
    "    return {loss: cross_entropy(net(image), label) + 0 * seen, state: {seen: 1.0}}\n  }",
}


@pytest.mark.parametrize("settings", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_examples_do_not_use_stays_there_too(settings: str, precision: Any, tmp_path: Path, only_on: Any) -> None:
    (tmp_path / "recipe.etude").write_text(STEPS.replace("SETTINGS", settings))
    for spec in distinct_steps(tmp_path / "recipe.etude").values():
        assert one_step(spec, "meta", only_on, Numerics(precision=precision))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_a_jax_step_lowers_for_accelerators(recipe: Path, platform: str) -> None:
    for name, spec in distinct_steps(recipe).items():
        step = Step(spec, rows=None, memory=MEMORY)
        emitted = jax.jit(step.module.step.__wrapped__)
        exported = jax.export.export(emitted, platforms=[platform])(*step.arguments().values())
        assert exported.platforms == (platform,), name
        assert "stablehlo" in exported.mlir_module()


def test_what_is_refused_here_is_what_fails_on_a_device(train_spec: Callable[..., Any], only_on: Any) -> None:
    with pytest.raises(AssertionError, match=r"with a tensor \(3,\) on cpu"), only_on("meta"):
        torch.zeros(2, 3, device="meta") @ torch.zeros(3)
    with pytest.raises((AssertionError, RuntimeError), match=r"number on the host|expected device"), only_on("meta"):
        torch.stack([torch.zeros((), device="meta"), torch.zeros(())])
    with pytest.raises(RuntimeError, match="meta tensors"):
        torch.zeros((), device="meta").item()
    assert one_step(train_spec(dropout=0.2, noise=0.1, penalty=0.1, clip=1.0), "meta", only_on)
