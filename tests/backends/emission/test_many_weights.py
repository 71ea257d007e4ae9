"""Models of many layers whose weights are read one by one: lists and loops in the source, whatever the depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_file

RECIPE = """
model layer(out: int)(x) {
  w = weight([x.shape[-1], out], init = normal_init(0.3))
  b = weight([out], init = zeros)
  return tanh(x @ w + b)
}
model deep(depth: int)(x) {
  layers = [layer(4) for _ in 1..depth]
  return layer(2)(loop (h = x, each_layer in layers) { return each_layer(h) })
}
digits = load("sklearn:digits")
net    = deep(DEPTH)
t = train(on = digits |> map(({image}) => {x: flatten(image)}), update = net) {
  loss = ({x}) => {
    task  = mean(square(net(x)))
    slope = ravel(grad(task, wrt = weights(net)))
    return task + 0.1 * sum(square(slope)) + 0.01 * sum(square(ravel(weights(net))))
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 2steps
}
"""


def spec(folder: Path, depth: int) -> Any:
    path = folder / "recipe.etude"
    path.write_text(RECIPE.replace("DEPTH", str(depth)))
    workflow = compile_file(path).workflow
    assert workflow is not None
    return next(stage.spec for stage in workflow.stages.values() if stage.kind == "train")


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_twenty_layers_are_as_long_as_six(framework: str, kit: Any, tmp_path: Path) -> None:
    short, long = (kit.emit(framework, spec(tmp_path, depth)).source for depth in (6, 20))
    assert len(long.splitlines()) == len(short.splitlines())


def test_weights_go_as_a_list_and_layers_are_a_loop(kit: Any, tmp_path: Path) -> None:
    source = kit.emit("torch", spec(tmp_path, 12)).source
    assert "[Layer(8, 4), *(Layer(4, 4) for _ in range(11))]" in source
    assert "def deep(x: Tensor, weights: list[Tensor]) -> Tensor:" in source
    assert "26 weights" in source
    assert "    for i in range(0, 26, 2):\n        x = layer(x, weights[i], weights[i + 1])\n" in source
    assert "[slope.reshape(-1) for slope in slopes]" in source


def test_second_derivatives_through_lists_agree(kit: Any, tmp_path: Path) -> None:
    torch, jax = kit.both(spec(tmp_path, 5))
    batch = {"x": np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)}
    (torch_loss, torch_grads), (jax_loss, jax_grads) = torch.loss(batch), jax.loss(batch)
    assert torch_loss == pytest.approx(jax_loss, rel=1e-5)
    assert len(torch_grads) == 12
    for slot, grad in torch_grads.items():
        np.testing.assert_allclose(grad, jax_grads[slot], atol=1e-4)
