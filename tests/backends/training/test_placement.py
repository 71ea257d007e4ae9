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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from etude.backends.jax.ahead_of_time import Step
from etude.backends.modules import load_source
from etude.backends.torch.emit import emit_train
from etude.runtime.compiling import compile_file

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").rglob("*.etude"))
MEMORY = 16 << 30


class OnlyOn(TorchDispatchMode):
    """Refuse every operation that takes or makes a tensor elsewhere; single numbers may come from the host."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, found)):
            elsewhere = isinstance(leaf, Tensor) and leaf.device.type != self.device and leaf.dim() > 0
            assert not elsewhere, f"{func} with a tensor {tuple(leaf.shape)} on {leaf.device}"
        return found


def distinct_steps(recipe: Path) -> dict[str, Any]:
    """The spec of each training of a recipe by its name, of equal programs the first."""
    workflow = compile_file(recipe).workflow
    assert workflow is not None
    found = {}
    for stage in workflow.stages.values():
        if stage.kind == "train":
            found.setdefault(tuple(step["loss"]["digest"] for step in stage.spec["steps"]), stage)
    return {stage.name: stage.spec for stage in found.values()}


def one_step(spec: Any, device: str) -> Mapping[str, Tensor]:
    """A step of the emitted module with everything on the device; the terms of its loss."""
    step = Step(spec, rows=None, memory=MEMORY)
    # the fused optimizers of a GPU have no kernel for tensors without storage; theirs is PyTorch's own business
    module = load_source(emit_train(spec).source.replace("fused=True", "foreach=True"))
    given, models = step.arguments(), module.Models().to(device)
    batch = {
        name: torch.zeros((step.batch, *column.shape[1:]), dtype=getattr(torch, str(column.dtype)), device=device)
        for name, column in given["data"].items()
    }
    batch |= {name: on_device(value, device) for name, value in given.get("clock", {}).items()}
    carried = [{n: on_device(value, device) for n, value in given["state"].items()}] if "state" in given else []
    players = len(spec["steps"])
    with OnlyOn(device):
        found = module.step(
            models, module.optimizers(models), batch, *carried, 7, 0.1 if players == 1 else (0.1,) * players
        )
    return found[0] if isinstance(found, tuple) else found


def on_device(value: Any, device: str) -> Tensor:
    return torch.zeros(value.shape, dtype=getattr(torch, str(value.dtype)), device=device)


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_a_torch_step_stays_on_its_device_and_reads_nothing_back(recipe: Path) -> None:
    for name, spec in distinct_steps(recipe).items():
        terms = one_step(spec, "meta")
        assert terms and all(term.device.type == "meta" for term in terms.values()), name


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda path: path.stem)
def test_a_jax_step_lowers_for_accelerators(recipe: Path, platform: str) -> None:
    for name, spec in distinct_steps(recipe).items():
        step = Step(spec, rows=None, memory=MEMORY)
        emitted = jax.jit(step.module.step.__wrapped__)
        exported = jax.export.export(emitted, platforms=[platform])(*step.arguments().values())
        assert exported.platforms == (platform,), name
        assert "stablehlo" in exported.mlir_module()


def test_what_is_refused_here_is_what_fails_on_a_device(train_spec: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match=r"with a tensor \(3,\) on cpu"), OnlyOn("meta"):
        torch.zeros(2, 3, device="meta") @ torch.zeros(3)
    with pytest.raises(RuntimeError, match="meta tensors"):
        torch.zeros((), device="meta").item()
    assert one_step(train_spec(dropout=0.2, noise=0.1, penalty=0.1, clip=1.0), "meta")
