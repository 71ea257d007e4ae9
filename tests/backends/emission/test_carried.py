"""What goes from step to step beside weights and optimizers: slow copies, a state, a clock; and several data sets."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from etude.backends.program.dims import b
from etude.backends.program.ir import Module, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType

DECAY = 0.75
OURS = "lint.isort.known-first-party = ['etude']"


def centered(kit: Any, players: int = 1) -> dict[str, Any]:
    """A student learns what its slow copy says of other rows, around a centre that is carried along."""
    slots = kit.Slots()
    net = kit.mlp(4, [6, 3])
    student, teacher = slots.module(net, "student"), slots.module(net, "teacher")
    loss = kit.Model("loss")
    seen, other = loss.input("seen.x", kit.floats(b, 4)), loss.input("other.x", kit.floats(b, 4))
    progress, center = loss.input("@progress", kit.floats()), loss.input("@state.center", kit.floats(3))
    aim = loss.do("stop", loss.do("sub", loss.run("teacher", net, other, called="aim"), center))
    gap = loss.do("sub", loss.run("student", net, seen), loss.do("mul", aim, progress))
    mean = loss.do("mean", loss.run("teacher", net, other), axis=0)
    following = loss.do("add", center, loss.do("mul", loss.do("sub", mean, center), kit.literal(0.5)))
    sub = loss.build([("gap", loss.do("mean", loss.do("square", gap), axis=None)), ("@state.center", following)])
    by_name = {"student": student, "teacher": teacher}
    spec = kit.train_spec(sub, [by_name[child.name] for child in sub.children], slots, update=[0, 1, 2, 3], clip=1.0)
    start = kit.Model("state")
    init = start.build([("center", start.do("full", kit.literal(0.25), shape=(3,)))])
    state = {"names": ["center"], "init": program_to_json(StageProgram(init, ()))}
    steps = [spec["steps"][0] | {"update": [0, 1]}, spec["steps"][0] | {"update": [2, 3]}]
    return spec | {
        "steps": steps if players == 2 else spec["steps"],
        "ema": [[4 + i, i, DECAY] for i in range(4)],
        "state": state,
        "inputs": {"on": {"seen": 0, "other": 1}},
    }


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_source_is_formatted_and_imports_what_it_uses(framework: str, players: int, kit: Any) -> None:
    source = kit.emit(framework, centered(kit, players)).source

    formatted = _ruff("format", "--line-length=120", "-", text=source)
    options = ["--line-length=120", "--isolated", "--select=E,F,I,UP,B", f"--config={OURS}"]
    checked = _ruff("check", *options, "-", text=source)

    assert formatted.stdout == source
    assert checked.returncode == 0, checked.stdout


def test_what_only_some_stages_need_is_not_written_for_others(kit: Any) -> None:
    for framework in ("torch", "jax"):
        source = kit.emit(framework, kit.classifier({"mlp": kit.mlp(8, [16, 10])}, 8, valid=False)).source
        for word in (" state:", "slow", "clock", "follow", "initial_state"):
            assert word not in source


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_slow_copies_follow_as_whole_modules(framework: str, kit: Any) -> None:
    source = kit.emit(framework, centered(kit)).source

    one = {
        "torch": "torch._foreach_lerp_(list(models.teacher.parameters()), list(models.student.parameters()), 1 - 0.75)",
        "jax": '(("teacher", "student", 0.75),)',
    }
    assert one[framework] in source


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_slow_weights_that_are_no_copy_of_a_module_follow_one_by_one(framework: str, kit: Any) -> None:
    spec = centered(kit) | {"ema": [[4, 0, 0.5], [5, 1, 0.5], [6, 2, 0.25], [7, 7 - 4, 0.5]]}
    source = kit.emit(framework, spec).source

    for path, decay in (("layers.0", 0.5), ("layers.1", 0.25)):
        if framework == "jax":
            assert f'("teacher.{path}.w", "student.{path}.w", {decay}),' in source
        else:
            assert f"1 - {decay}" in source
            assert f"models.teacher.{path.replace('.0', '[0]').replace('.1', '[1]')}.w" in source


def _ruff(command: str, *options: str, text: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "ruff", command, *options]
    return subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)


def batches(rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    return {name: generator.normal(size=(rows, 4)).astype(np.float32) for name in ("seen.x", "other.x")}


@pytest.mark.parametrize("players", [1, 2])
def test_both_frameworks_take_the_same_steps(players: int, kit: Any) -> None:
    spec = centered(kit, players)
    torch, jax = kit.both(spec)
    data = batches(8)
    slow = {jax.paths[slot]: jax.rest.pop(jax.paths[slot]) for slot in range(4, 8)}
    lr: Any = 0.05 if players == 1 else (0.05, 0.05)
    optimizer, state = torch.module.optimizers(torch.models), torch.module.initial_state(3)
    jax_opt, jax_state = jax.module.init(jax.params), jax.module.initial_state(np.uint32(3))
    index = {name: np.arange(8, dtype=np.int32) for name in ("seen", "other")}
    columns = {name: jax.jax.numpy.array(column) for name, column in data.items()}
    assert state["center"].tolist() == [0.25] * 3

    for step in range(10):
        progress = np.float32(step / 10)
        batch = torch.tensors(data) | {"@progress": torch.torch.tensor(progress)}
        terms, state = torch.module.step(torch.models, optimizer, batch, state, step, lr)
        jax.params, slow, jax_opt, jax_state, jax_terms = jax.module.step(
            jax.params, slow, jax.rest, jax_opt, jax_state, columns, index, {"@progress": progress}, np.uint32(step), lr
        )
        assert {name: float(term) for name, term in terms.items()} == pytest.approx(
            {name: float(term) for name, term in jax_terms.items()}, abs=1e-5
        )
        np.testing.assert_allclose(state["center"].numpy(), np.asarray(jax_state["center"]), atol=1e-5)
        assert not state["center"].requires_grad

    found = jax.params | slow
    for slot, weight in torch.weights().items():
        np.testing.assert_allclose(weight, np.asarray(found[jax.paths[slot]]), atol=1e-5)


def test_a_number_may_be_the_next_state(kit: Any) -> None:
    slots = kit.Slots()
    net = kit.linear(4, 1)
    module: Module = slots.module(net, "net")
    loss = kit.Model("loss")
    x, count = loss.input("x", kit.floats(b, 4)), loss.input("@state.count", TensorType("int32"))
    outputs = loss.do("mean", loss.run("net", net, x), axis=None)
    weighed = loss.do("mul", outputs, loss.do("cast", count, dtype="float32"))
    spec = kit.train_spec(loss.build([("", weighed), ("@state.count", kit.literal(3))]), [module], slots)
    start = kit.Model("state")
    program = program_to_json(StageProgram(start.build([("count", kit.literal(2))]), ()))
    torch, jax = kit.both(spec | {"state": {"names": ["count"], "init": program}})
    x_value = {"x": np.ones((2, 4), np.float32)}

    _, state = torch.module.step(
        torch.models,
        torch.module.optimizers(torch.models),
        torch.tensors(x_value),
        {"count": torch.torch.tensor(2, dtype=torch.torch.int32)},
        0,
        0.1,
    )
    _, (_, jax_state) = jax.module.loss(
        jax.module.build(jax.params, jax.rest), x_value, {"count": np.int32(2)}, np.uint32(0)
    )

    assert (state["count"].dtype, state["count"].tolist()) == (torch.torch.int32, 3)
    assert (str(jax_state["count"].dtype), int(jax_state["count"])) == ("int32", 3)
