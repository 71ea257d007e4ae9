"""What values take, by their lifetimes: in a chain of layers that can be counted by hand, and against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.inputs import initial_weights
from etude.backends.modules import load_source
from etude.backends.numerics import Numerics, Precision
from etude.backends.program.serialize import program_from_json
from etude.backends.torch.emit import emit_train
from etude.backends.torch.rows import load_models
from etude.compiler.liveness import held_bytes
from etude.runtime.compiling import compile_text

BATCH = 32
RECIPE = """
digits = load("sklearn:digits")
net    = flatten >> BODY
t      = train(on = digits, update = {net: net}) {
  loss  = (x, y) => cross_entropy(net(x), y)
  batch = 32
}
"""


def spec_of(body: str) -> Any:
    workflow = compile_text(RECIPE.replace("BODY", body), "recipe.etude", Path()).workflow
    assert workflow is not None
    return next(stage.spec for stage in workflow.stages.values() if stage.kind == "train")


def held(body: str, *, learns: bool = True, precision: Precision = "float32") -> Any:
    step = spec_of(body)["steps"][0]
    return held_bytes(program_from_json(step["loss"]), BATCH, step["update"] if learns else [], precision)


def saved_by_torch(spec: Any, precision: Precision = "float32") -> int:
    """The bytes that PyTorch keeps for the backward pass, weights aside."""
    emitted = emit_train(spec, Numerics(precision=precision))
    module = load_source(emitted.source)
    models = load_models(module, emitted.slots, initial_weights(spec["slots"], {}), torch.device("cpu"))
    module.optimizers(models)
    weights = {weight.untyped_storage().data_ptr() for weight in models.parameters()}
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = {"image": torch.zeros(BATCH, 8, 8, 1), "label": torch.zeros(BATCH, dtype=torch.int32)}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = module.loss(models, batch, 0)
    assert kept
    return sum(found.values())


def test_a_hidden_layer_keeps_what_its_gradient_needs() -> None:
    narrow, wide = held("linear(100) >> relu >> linear(10)"), held("linear(300) >> relu >> linear(10)")

    # of a layer, what relu gave: the next product has read it, and relu's own gradient is known from it
    assert wide.kept - narrow.kept == 200 * BATCH * 4


def test_nothing_is_kept_where_nothing_learns() -> None:
    still = held("linear(300) >> relu >> linear(300) >> relu >> linear(10)", learns=False)

    assert still.kept == 0
    # one layer's values stand beside those of the next, and no more
    assert 300 * BATCH * 4 <= still.peak <= 3 * 300 * BATCH * 4


def test_the_backward_pass_holds_gradients_beside_what_is_kept() -> None:
    wide = held("linear(3000) >> relu >> linear(10)")

    # at the widest layer: what relu gave is kept, and there are the gradients of that and of what it read
    assert wide.peak >= wide.kept + 2 * 3000 * BATCH * 4 - 64 * BATCH * 4
    assert wide.peak < wide.kept + 3 * 3000 * BATCH * 4


def test_every_round_of_a_loop_keeps_what_its_gradient_needs() -> None:
    body = "linear(100) >> (x => loop (h = x, i in 1..N) { return tanh(h) * 0.9 }) >> linear(10)"
    few, many = (held(body.replace("N", str(rounds))) for rounds in (4, 9))

    assert many.kept - few.kept == 5 * 100 * BATCH * 4
    still = held(body.replace("N", "9"), learns=False)
    assert still.kept == 0 and still.peak < many.peak


def test_of_a_choice_one_branch_is_kept_and_of_a_map_every_element() -> None:
    choice = (
        "linear(100) >> (x => choose(int(sum(x)), [h => tanh(h) * h, h => tanh(tanh(h) * h) * h])(x)) >> linear(10)"
    )
    one = held("linear(100) >> (x => tanh(tanh(x) * x) * x) >> linear(10)")
    assert 0 <= held(choice).kept - one.kept <= 8  # the number that picks, and what it was rounded from

    rows = held("linear(100) >> (x => each(x, r => exp(tanh(r)) * r)) >> linear(10)")
    batch = held("linear(100) >> (x => exp(tanh(x)) * x) >> linear(10)")
    assert rows.kept == batch.kept


def test_memory_grows_with_the_batch() -> None:
    step = spec_of("linear(100) >> relu >> linear(10)")["steps"][0]
    program = program_from_json(step["loss"])
    small, large = (held_bytes(program, batch, step["update"]).kept for batch in (BATCH, 10 * BATCH))

    assert 9 * small < large <= 10 * small


def test_products_in_bf16_keep_copies_of_half_the_size() -> None:
    narrow, wide = (held(f"linear({width}) >> relu >> linear(10)", precision="bf16") for width in (100, 300))

    # of a layer what relu gave, which its own gradient needs, the copy of it that the next product reads, and
    # the copy of the next weights: for the gradient by it
    assert wide.kept - narrow.kept == 200 * (BATCH * 4 + BATCH * 2 + 10 * 2)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    "body",
    [
        "linear(200) >> relu >> linear(100) >> tanh >> linear(10)",
        "linear(64, seed = 1) >> gelu >> linear(10)",
        "linear(100) >> (x => loop (h = x, i in 1..6) { return tanh(h) * i }) >> linear(10)",
        "linear(100) >> (x => scan(x, from = x[0], (h, r) => { n = tanh(h * r)  return {next: n, out: n} }).outs)"
        " >> linear(10)",
        "linear(100) >> (x => each(x, r => exp(tanh(r)) * r)) >> linear(10)",
    ],
)
def test_the_estimate_is_near_what_torch_keeps(body: str, precision: Precision) -> None:
    actual, expected = saved_by_torch(spec_of(body), precision), held(body, precision=precision).kept

    assert np.isclose(expected, actual, rtol=0.35), (expected, actual)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("body", ["vit(32, 2, 4, 2) >> linear(10)", "convnet([16, 32], 16, 3) >> linear(10)"])
def test_so_it_is_for_images(body: str, precision: Precision) -> None:
    workflow = compile_text(RECIPE.replace("flatten >> BODY", body), "recipe.etude", Path()).workflow
    assert workflow is not None
    spec = next(stage.spec for stage in workflow.stages.values() if stage.kind == "train")
    step, actual = spec["steps"][0], saved_by_torch(spec, precision)
    expected = held_bytes(program_from_json(step["loss"]), BATCH, step["update"], precision).kept

    assert np.isclose(expected, actual, rtol=0.35), (expected, actual)
