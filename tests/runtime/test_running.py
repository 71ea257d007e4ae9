"""Statistics of batches that follow slowly: `running`, and the library's `batch_norm`, on both frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etude.backends.base import Backend, load
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text

PRELUDE = 'points = load("points.csv", target = "y")\n'
ROWS, WIDTH = 64, 3
LAYER = """
t = train(on = points, update = {net: net}) {
  loss      = row => mean(square(net(stacked(row)) - row.y[:, newaxis]))
  optimizer = sgd(lr = 0.1)
  batch     = 16
  budget    = 6steps
}
"""
STACKED = "fn stacked(row) = stack([row.a, row.b, row.c], axis = -1)\n"


@pytest.fixture
def table(tmp_path: Path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    columns = {name: generator.normal(2.0, 3.0, ROWS).astype(np.float32) for name in "abcy"}
    lines = [",".join(columns), *(",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    return columns


@pytest.fixture
def compiled(tmp_path: Path, table: dict[str, np.ndarray]) -> Callable[[str], Workflow]:
    def compile_it(text: str) -> Workflow:
        result = compile_text(PRELUDE + STACKED + text, "test.etude", tmp_path)
        assert not result.has_errors, [d.message for d in result.diagnostics]
        assert result.workflow is not None
        return result.workflow

    return compile_it


@pytest.fixture(scope="module", params=["torch", "jax"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return load(request.param, device="cpu", threads=1)


def ids() -> Any:
    return np.arange(ROWS, dtype=np.uint64) * np.uint64(2**40 + 1)


def spec_of(workflow: Workflow, kind: str) -> dict[str, Any]:
    (found,) = [stage.spec for stage in workflow.stages.values() if stage.kind == kind]
    return dict(found)


def trained(backend: Backend, spec: dict[str, Any], table: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """The weights after training, by path."""
    valid = (table, ids()) if spec["valid"] else None
    result = backend.train(
        spec, table, ids(), valid, {}, folder, emit=lambda e: None, stop=lambda: False, record="step"
    )
    paths = [slot["path"].rpartition(".")[2] for slot in spec["slots"]]
    return {**dict(zip(paths, result.weights, strict=True)), "history": result.history}


def batches_of(spec: dict[str, Any], table: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    from etude.backends.batches import Stream

    stream = Stream(ids(), spec["batch"], spec["seed"])
    x = np.stack([table[name] for name in "abc"], axis=-1)
    return [(x[index], table["y"][index]) for index in (stream.indices(step) for step in range(6))]


def test_batch_norm_trains_as_that_of_torch(
    backend: Backend, compiled: Callable[[str], Workflow], table: dict[str, np.ndarray], tmp_path: Path
) -> None:
    spec = spec_of(compiled("net = batch_norm(rate = 0.1)" + LAYER), "train")
    found = trained(backend, spec, table, tmp_path)
    norm = torch.nn.BatchNorm1d(WIDTH)
    optimizer = torch.optim.SGD(norm.parameters(), lr=0.1)
    losses = []
    for x, y in batches_of(spec, table):
        loss = ((norm(torch.tensor(x)) - torch.tensor(y)[:, None]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert [row["loss"] for row in found["history"]] == pytest.approx(losses, rel=1e-4)
    for name, value in (("scale", norm.weight), ("shift", norm.bias)):
        np.testing.assert_allclose(found[name], value.detach(), atol=1e-5)
    np.testing.assert_allclose(found["centre"], norm.running_mean, rtol=1e-5)
    np.testing.assert_allclose(found["slow"], norm.running_var, rtol=1e-5)


def test_elsewhere_the_slow_mean_stands_for_that_of_the_batch(
    backend: Backend, compiled: Callable[[str], Workflow], table: dict[str, np.ndarray], tmp_path: Path
) -> None:
    recipe = f"net = batch_norm(){LAYER}z = map(points, row => {{z: t.net(stacked(row))}})"
    workflow = compiled(recipe)
    spec, rows = spec_of(workflow, "train"), spec_of(workflow, "map")
    weights = trained(backend, spec, table, tmp_path)
    order = [weights[slot["path"].rpartition(".")[2]] for slot in spec["slots"]]
    stage_input = next(slot["source"]["input"] for slot in rows["slots"])

    z = backend.rows(rows, table, ids(), {stage_input: [order[i] for i in spec["results"][0]]})["z"]

    x = np.stack([table[name] for name in "abc"], axis=-1)
    expected = (x - weights["centre"]) / np.sqrt(weights["slow"] + 1e-5) * weights["scale"] + weights["shift"]
    np.testing.assert_allclose(z, expected, atol=1e-4)


SEVERAL = """
net  = linear(4) >> batch_norm() >> relu >> linear(1)
rival = linear(4) >> batch_norm() >> linear(1, seed = 5)
fn gap(m, row) = mean(square(m(stacked(row)) - row.y[:, newaxis]))
t = train(on = points) {
  updates = [
    step(update = {net: net}, optimizer = sgd(lr = 1e-3), loss = row => gap(net, row) + gap(rival, row)),
    step(update = {rival: rival}, optimizer = adam(lr = 1e-2), every = 2) {
      loss = (row, {slow}) => gap(rival, row) + 0.1 * gap(slow, row)
    }
  ]
  ema    = {slow: slow(net, 0.5)}
  batch  = 16
  budget = 6steps
}
"""


def test_players_and_slow_copies_agree_on_both_frameworks(
    compiled: Callable[[str], Workflow], table: dict[str, np.ndarray]
) -> None:
    both = [load(name, device="cpu", threads=1) for name in ("torch", "jax")]
    found = compare_train(both, spec_of(compiled(SEVERAL), "train"), table, ids(), None, {}, steps=6)

    assert found["steps"] == 6
    assert found["loss_difference"] <= 1e-4
    assert found["agrees"]


def test_validation_sees_the_slow_mean_and_state_holds_it(
    backend: Backend, compiled: Callable[[str], Workflow], table: dict[str, np.ndarray], tmp_path: Path
) -> None:
    layer = LAYER.replace("batch     = 16", "valid = points  valid_every = 1steps  batch = 64")
    spec = spec_of(compiled("net = batch_norm(rate = 1.0)" + layer), "train")
    found = trained(backend, spec, table, tmp_path)

    x = np.stack([table[name] for name in "abc"], axis=-1)
    np.testing.assert_allclose(found["centre"], x.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found["slow"], x.var(0, ddof=1), rtol=1e-4)
    assert all(row["valid.loss"] != pytest.approx(row["loss"], rel=1e-6) for row in found["history"])


def test_a_slow_copy_is_evaluated_and_follows_the_statistics(compiled: Callable[[str], Workflow]) -> None:
    spec = spec_of(compiled(SEVERAL), "train")
    running = {slot["path"] for slot in spec["slots"] if slot.get("running")}
    followed = {spec["slots"][slot]["path"] for slot, *_ in spec["ema"]}
    updates = [sum(op[0] == "update" for op in sub["ops"]) for sub in spec["steps"][1]["loss"]["subs"]]

    assert len(running) == 4 and not running & followed
    assert {"slow.batch_norm.centre", "slow.batch_norm.slow"} <= followed
    assert sum(updates) == 2  # those of the rival: the slow copy is not in training
    assert not set(spec["steps"][0]["update"]) & {i for i, slot in enumerate(spec["slots"]) if slot.get("running")}


def test_a_trained_model_goes_on_in_training_mode(compiled: Callable[[str], Workflow]) -> None:
    block = """
    model block()(x) { return batch_norm()(linear(3)(x)) }
    net = block()
    """
    again = LAYER.replace("t = ", "u = ").replace("{net: net}", "{net: t.net}").replace("net(stacked", "t.net(stacked")
    workflow = compiled(block + LAYER + again)
    for stage in workflow.stages.values():
        if stage.kind == "train":
            ops = [op[0] for sub in stage.spec["steps"][0]["loss"]["subs"] for op in sub["ops"]]
            assert ops.count("update") == 2, stage.name


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return running(x, 0.1)", "E314"),
        ("return x - running(mean(x, axis = 0), 2)", "E314"),
        ("return x - running(3, 0.1)", "E301"),
    ],
)
def test_what_cannot_run_is_refused(tmp_path: Path, table: dict[str, np.ndarray], body: str, code: str) -> None:
    text = f"{PRELUDE}{STACKED}model norm()(x) {{ {body} }}\nnet = linear(3) >> norm(){LAYER}"
    assert [d.code for d in compile_text(text, "test.etude", tmp_path).diagnostics] == [code]


def test_running_stands_in_models_only(tmp_path: Path, table: dict[str, np.ndarray]) -> None:
    text = PRELUDE + "m = measure(on = points, row => running(row.a, 0.1))"
    assert [d.code for d in compile_text(text, "test.etude", tmp_path).diagnostics] == ["E406"]
