"""What becomes a class, a method, a function, a loop, a variable; what is shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Module, Slot, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType

FRAMEWORKS = ("torch", "jax")


def squared(kit: Any, *parts: tuple[str, Any, Module], width: int, slots: Any, **settings: Any) -> Any:
    """A stage whose loss is the mean square of the sum of what each part makes of the same x [b, width]."""
    loss = kit.Model("loss")
    x = loss.input("x", kit.floats(b, width))
    total = loss.run(parts[0][0], parts[0][1], x)
    for name, sub, _ in parts[1:]:
        total = loss.do("add", total, loss.run(name, sub, x))
    program = loss.done(loss.do("mean", loss.do("square", total), axis=None))
    modules = [module for _, _, module in parts]
    return kit.train_spec(program, modules, slots, **settings)


def points(rows: int, width: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)}


def agree(kit: Any, spec: Any, batch: dict[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The gradients by slot, after checking that both frameworks give the same."""
    torch, jax = kit.both(spec)
    (torch_loss, torch_grads), (jax_loss, jax_grads) = torch.loss(batch), jax.loss(batch)
    assert torch_loss == pytest.approx(jax_loss, abs=1e-5)
    assert torch_grads.keys() == jax_grads.keys()
    for slot, grad in torch_grads.items():
        np.testing.assert_allclose(grad, jax_grads[slot], atol=1e-5)
    return torch_grads


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_models_that_differ_in_the_sizes_of_weights_are_one_class_with_parameters(framework: str, kit: Any) -> None:
    source = kit.emit(framework, kit.classifier({"mlp": kit.mlp(8, [16, 16, 10])}, 8)).source

    assert source.count("class Linear(") == 1
    assert "def __init__(self, inputs: int, outputs: int) -> None:" in source
    assert "[Linear(8, 16), Linear(16, 16), Linear(16, 10)]" in source


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_chain_of_equal_blocks_is_a_loop_over_a_list(framework: str, kit: Any) -> None:
    source = kit.emit(framework, kit.classifier({"net": kit.tiny_vit(depth=6)}, 8, 8, 1)).source

    assert "[Block() for _ in range(6)]" in source
    assert "        for block in self.blocks:\n            x = block(x)\n" in source


def test_a_part_of_a_chain_loops_over_a_slice(kit: Any) -> None:
    net = kit.Model("net")
    x = net.input("x", kit.floats(b, 4))
    layers = [kit.linear(4, 4) for _ in range(4)]
    h = x
    for index in (0, 1, 2):
        h = net.run(f"layers.{index}", layers[index], h)
    net.run("layers.3", layers[3], x)
    y = net.do("add", h, net.run("layers.3", layers[3], x))
    slots = kit.Slots()
    sub = net.done(y)
    spec = squared(kit, ("net", sub, slots.module(sub, "net")), width=4, slots=slots)

    assert "for layer in self.layers[:3]:" in kit.emit("torch", spec).source
    agree(kit, spec, points(5, 4))


def test_a_chain_whose_start_is_read_again_keeps_it(kit: Any) -> None:
    net = kit.Model("net")
    x = net.input("x", kit.floats(b, 4))
    h = x
    for index in range(3):
        h = net.run(f"layers.{index}", kit.linear(4, 4), h)
    sub = net.done(net.do("add", net.do("tanh", h), x))
    slots = kit.Slots()
    spec = squared(kit, ("net", sub, slots.module(sub, "net")), width=4, slots=slots)

    source = kit.emit("torch", spec).source

    assert "x_2 = x\n        for layer in self.layers:\n            x_2 = layer(x_2)\n" in source
    agree(kit, spec, points(5, 4))


def test_blocks_that_draw_get_the_keys_of_their_sites_in_a_loop(kit: Any) -> None:
    noisy = kit.Model("noisy")
    x = noisy.input("x", kit.floats(b, 4))
    y = noisy.do("dropout", noisy.run("linear", kit.linear(4, 4), x), rate=0.5)
    block = noisy.done(y)
    net = kit.Model("net")
    h = net.do("dropout", net.input("x", kit.floats(b, 4)), rate=0.1)
    for index in range(3):
        h = net.run(f"blocks.{index}", block, h)
    sub = net.done(h)
    slots = kit.Slots()
    spec = squared(kit, ("net", sub, slots.module(sub, "net")), width=4, slots=slots)

    source = kit.emit("torch", spec).source

    assert "for site, block in enumerate(self.blocks, 1):" in source
    assert "block(x, random.fold(key, site))" in source
    agree(kit, spec, points(64, 4))


def test_training_and_evaluation_of_a_model_are_two_methods_of_one_class(kit: Any) -> None:
    slots = kit.Slots()
    training, evaluation = (kit.mlp(4, [8, 2], dropout=rate) for rate in (0.5, 0.0))
    module = slots.module(training, "net")
    spec = squared(kit, ("net", training, module), width=4, slots=slots)
    plain = squared(kit, ("net", evaluation, module), width=4, slots=slots)
    spec["valid"] = {"loss": plain["steps"][0]["loss"], "scores": None}

    torch, jax = kit.both(spec)
    batch = points(32, 4)
    trained, evaluated = torch.loss(batch)[0], torch.module.evaluate(torch.models, torch.tensors(batch), 0)["loss"]
    again = jax.module.evaluate(jax.module.build(jax.params, jax.rest), batch, np.uint32(0))["loss"]

    assert torch.emitted.source.count("class Mlp(") == jax.emitted.source.count("class Mlp(") == 1
    assert "    def evaluate(self, x: Tensor) -> Tensor:" in torch.emitted.source
    assert "models.net.evaluate(x)" in torch.emitted.source
    assert len(torch.emitted.slots) == 4
    assert trained != pytest.approx(float(evaluated))
    assert float(again) == pytest.approx(float(evaluated), abs=1e-6)


def test_a_model_without_weights_is_a_function_and_one_that_does_nothing_is_gone(kit: Any) -> None:
    swish, same = kit.Model("swish", doc="swish()"), kit.Model("same")
    x = swish.input("x", kit.floats(b, 4))
    swish_sub = swish.done(swish.do("mul", x, swish.do("sigmoid", x)))
    same_sub = same.done(same.input("x", kit.floats(b, 4)))
    net = kit.Model("net")
    x = net.input("x", kit.floats(b, 4))
    y = net.run("linear", kit.linear(4, 4), net.run("same", same_sub, x))
    sub = net.done(net.run("swish", swish_sub, y))
    slots = kit.Slots()
    spec = squared(kit, ("net", sub, slots.module(sub, "net")), width=4, slots=slots)

    source = kit.emit("torch", spec).source

    assert "def swish(x: Tensor) -> Tensor:" in source
    assert "        return swish(self.linear(x))\n" in source
    assert "same" not in source
    agree(kit, spec, points(5, 4))


def test_a_model_that_is_a_part_of_another_is_the_same_module(kit: Any) -> None:
    encoder = kit.mlp(4, [6, 3])
    net = kit.Model("net")
    x = net.input("x", kit.floats(b, 4))
    sub = net.done(net.run("head", kit.linear(3, 3), net.run("encoder", encoder, x)))
    slots = kit.Slots()
    whole = slots.module(sub, "net")
    parts = [child.name for child in sub.children]
    part = whole.children[parts.index("encoder")]
    spec = squared(kit, ("encoder", encoder, part), ("net", sub, whole), width=4, slots=slots)

    emitted = kit.emit("torch", spec)

    assert "self.net = Net()" in emitted.source
    assert "models.net.encoder(x) + models.net(x)" in emitted.source
    assert len({slot for slot, _ in emitted.slots}) == len(emitted.slots) == 6
    agree(kit, spec, points(5, 4))


def test_tied_weights_are_assigned_and_learn_as_one(kit: Any) -> None:
    slots = kit.Slots()
    first = kit.linear(4, 4)
    module = slots.module(first, "a")
    (own_bias,) = kit.Slots.module(slots, kit.linear(4, 4), "c").slots[1:]
    tied = Module((module.slots[0], own_bias))
    update = [*module.slots, own_bias]
    spec = squared(kit, ("a", first, module), ("c", first, tied), width=4, slots=slots, update=update)

    torch, jax = kit.both(spec)
    batch = points(5, 4)
    torch.steps(batch, 3)
    jax.steps(batch, 3)

    assert "self.c.w = self.a.w" in torch.emitted.source
    assert (0, "a.w") in torch.emitted.slots and (0, "c.w") in torch.emitted.slots
    assert torch.models.a.w is torch.models.c.w
    for slot, weight in torch.weights().items():
        np.testing.assert_allclose(weight, jax.weights()[slot], atol=1e-5)


def test_only_what_is_updated_learns(kit: Any) -> None:
    slots = kit.Slots()
    student, teacher = kit.mlp(4, [8, 2]), kit.linear(4, 2)
    learns, frozen = slots.module(student, "student"), slots.module(teacher, "teacher")
    update = [0, 1]  # the first layer of the student
    parts = (("student", student, learns), ("teacher", teacher, frozen))
    spec = squared(kit, *parts, width=4, slots=slots, update=update)

    torch, jax = kit.both(spec)
    before = {slot: weight.copy() for slot, weight in torch.weights().items()}
    batch = points(16, 4)
    torch.steps(batch, 3)
    jax.steps(batch, 3)

    assert "models.student.layers[0].requires_grad_(True)" in torch.emitted.source
    assert set(jax.params) == {"student.layers.0.w", "student.layers.0.b"}
    for slot, weight in torch.weights().items():
        assert (weight != before[slot]).any() == (slot in update)
        np.testing.assert_allclose(weight, jax.weights()[slot], atol=1e-5)


def test_equal_operations_are_done_once_dead_ones_never_and_draws_each_by_itself(kit: Any) -> None:
    loss = kit.Model("loss")
    x = loss.input("x", kit.floats(b, 4))
    loss.do("exp", x)
    first, second = loss.do("tanh", x), loss.do("tanh", x)
    noise = loss.do("add", loss.do("uniform", shape=(b, 4)), loss.do("uniform", shape=(b, 4)))
    program = loss.done(loss.do("mean", loss.do("mul", loss.do("mul", first, second), noise), axis=None))

    source = kit.emit("torch", kit.train_spec(program, [], kit.Slots())).source

    assert source.count("torch.tanh(") == 1
    assert "torch.exp" not in source
    assert "random.fold(key, 0)" in source and "random.fold(key, 1)" in source
    assert "b = x.shape[0]" in source


def test_several_terms_are_summed_and_each_is_returned(kit: Any) -> None:
    slots, net = kit.Slots(), kit.linear(4, 2)
    loss = kit.Model("loss")
    y = loss.run("net", net, loss.input("x", kit.floats(b, 4)))
    fit, penalty = loss.do("mean", y, axis=None), loss.do("mean", loss.do("abs", y), axis=None, called="penalty")
    spec = kit.train_spec(loss.done(fit=fit, penalty=penalty), [slots.module(net, "net")], slots)

    torch, jax = kit.both(spec)
    (torch_terms,), (jax_terms,) = (run.steps(points(5, 4), 1) for run in (torch, jax))

    for run in (torch, jax):
        assert "    total = fit + penalty\n" in run.emitted.source
        assert '    return total, {"loss": total, "fit": fit, "penalty": penalty}\n' in run.emitted.source
    assert set(torch_terms) == {"loss", "fit", "penalty"}
    assert torch_terms == pytest.approx(jax_terms, abs=1e-6)
    assert torch_terms["loss"] == pytest.approx(torch_terms["fit"] + torch_terms["penalty"])


def test_names_that_python_or_the_module_needs_are_not_taken(kit: Any) -> None:
    row = kit.Model("row")
    x, batch, rows = (row.input(name, kit.floats(4)) for name in ("lambda", "batch", "rows"))
    total = row.do("mean", x, axis=None, called="torch")
    other = row.do("mul", total, row.do("add", total, kit.literal(1.0), called="b"), called="jnp")
    last = row.do("add", row.do("sum", batch, axis=None, called="np"), row.do("sum", rows, axis=None, called="sum"))
    spec = {"program": program_to_json(StageProgram(row.done(other=other, last=last), ())), "slots": []}
    columns = {"lambda": np.full((2, 4), 3.0), "batch": np.ones((2, 4)), "rows": np.full((2, 4), 2.0)}
    batches = {name: column.astype(np.float32) for name, column in columns.items()}

    for framework in ("numpy", *FRAMEWORKS):
        module = kit.execute(kit.emit(framework, spec))
        found = run_rows(framework, module, batches, np.arange(2, dtype=np.uint32), slice(None))
        np.testing.assert_array_equal(found["other"], [12.0, 12.0])
        np.testing.assert_array_equal(found["last"], [12.0, 12.0])


def test_a_model_with_several_outputs_returns_a_tuple(kit: Any) -> None:
    pair = kit.Model("pair")
    x = pair.input("x", kit.floats(b, 4))
    sub = pair.done(low=pair.run("down", kit.linear(4, 2), x), high=pair.run("up", kit.linear(4, 2), x))
    slots = kit.Slots()
    loss = kit.Model("loss")
    x = loss.input("x", kit.floats(b, 4))
    loss.children.append(Child("pair", sub))
    low, high = loss.call(0, [x], [value.type for _, value in sub.outputs])
    program = loss.done(loss.do("mean", loss.do("square", loss.do("sub", low, high)), axis=None))
    spec = kit.train_spec(program, [slots.module(sub, "pair")], slots)

    source = kit.emit("torch", spec).source

    assert "def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:" in source
    assert "return self.down(x), self.up(x)" in source
    assert "pair, pair_2 = models.pair(x)" in source
    agree(kit, spec, points(5, 4))


def test_a_call_on_a_doubled_batch_shares_the_class(kit: Any) -> None:
    slots, sub = kit.Slots(), kit.linear(4, 4)
    loss = kit.Model("loss")
    x = loss.input("x", kit.floats(b, 4))
    both = loss.do("concat", x, loss.do("neg", x), axis=0)
    doubled = loss.run("net", sub, both, batch=2 * b)
    single = loss.run("net", sub, x)
    total = loss.do("add", loss.do("mean", doubled, axis=None), loss.do("mean", single, axis=None))
    spec = kit.train_spec(loss.done(total), [slots.module(sub, "net")], slots)

    assert kit.emit("torch", spec).source.count("class ") == 2
    agree(kit, spec, points(3, 4))


@pytest.mark.parametrize("framework", ("numpy", *FRAMEWORKS))
def test_row_programs_see_the_same_numbers_in_every_batch(framework: str, kit: Any) -> None:
    row = kit.Model("row")
    x = row.input("x", kit.floats(3))
    noisy = row.do("add", x, row.do("normal", shape=(3,)))
    program = StageProgram(row.done(noisy=noisy, size=row.do("sum", x, axis=None)), ())
    spec = {"program": program_to_json(program), "slots": []}
    module = kit.execute(kit.emit(framework, spec))
    batch = {"x": np.arange(12, dtype=np.float32).reshape(4, 3)}
    ids = np.array([5, 4_000_000_000, 7, 11], np.uint32)

    whole, half = (run_rows(framework, module, batch, ids, keep) for keep in (slice(None), slice(1, 3)))

    reference = kit.execute(kit.emit("numpy", spec)).rows(batch, ids, 9)
    np.testing.assert_allclose(whole["noisy"], reference["noisy"], atol=1e-5)
    np.testing.assert_allclose(whole["size"], batch["x"].sum(axis=1))
    np.testing.assert_array_equal(whole["noisy"][1:3], half["noisy"])


def run_rows(framework: str, module: Any, batch: Any, ids: Any, keep: slice) -> dict[str, np.ndarray]:
    columns, rows = {name: column[keep] for name, column in batch.items()}, ids[keep]
    if framework == "numpy":
        found = module.rows(columns, rows, 9)
    elif framework == "torch":
        torch = __import__("torch")
        tensors = {name: torch.tensor(column) for name, column in columns.items()}
        found = module.rows(None, tensors, torch.tensor(rows.view(np.int32)), 9)
    else:
        found = module.rows(None, columns, rows, np.uint32(9))
    return {name: np.asarray(value) for name, value in found.items()}


def test_integer_weights_and_running_slots_are_no_parameters(kit: Any) -> None:
    model = kit.Model("counter")
    x = model.input("x", kit.floats(b, 4))
    mean = model.weight(Slot("mean", TensorType("float32", (4,)), (("kind", "zeros"),), running=True))
    sub = model.done(model.do("mul", model.do("sub", x, mean), model.own("scale", 4, init="ones")))
    slots = kit.Slots()
    spec = squared(kit, ("net", sub, slots.module(sub, "net")), width=4, slots=slots, update=[1])

    assert 'self.register_buffer("mean", torch.empty(4))' in kit.emit("torch", spec).source
    assert "self.mean = nnx.BatchStat(jnp.zeros((4,)))" in kit.emit("jax", spec).source


def test_what_torch_makes_from_nothing_is_on_the_device_of_the_inputs(kit: Any) -> None:
    torch = __import__("torch")
    row = kit.Model("row")
    x = row.input("x", kit.floats(b, 4))
    noise = row.do("add", row.do("normal", shape=(b, 4)), row.do("uniform", shape=(b, 4), low=1.0, high=3.0))
    draws = row.do("bernoulli", kit.literal(0.5), shape=(b, 4))
    moved = row.do("dropout", row.do("add", x, row.do("where", draws, noise, kit.literal(0.5))), rate=0.5)
    mixed = row.do("matmul", row.do("eye", n=b), moved)
    order = row.do("take", mixed, row.do("permutation", n=b), axis=0)
    counts = row.do("mul", order, row.do("iota", n=4))
    spec = kit.train_spec(row.done(row.do("mean", counts, axis=None)), [], kit.Slots(), update=[])

    source = kit.emit("torch", spec).source
    module = kit.execute(kit.emit("torch", spec), Models=torch.nn.Module)
    total, _ = module.loss(None, {"x": torch.zeros(3, 4, device="meta")}, 0)

    assert "    device = x.device\n" in source
    assert total.device.type == "meta"
