"""Trees that are measured, and datasets that are split by their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from etude.backends.weights import load_weights
from etude.compiler.workflow import Ref
from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

ROWS = 30


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def table(tmp_path: Path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    columns = {name: generator.normal(size=ROWS).astype(np.float32) for name in "xy"}
    columns["kind"] = np.arange(ROWS, dtype=np.int32) % 4
    lines = [",".join(columns), *(",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    return columns


MEASURED = """
points = load("points.csv", target = "y")
net = linear(1)
fn gap(m, row) = mean(square(m(stack([row.x]))[0] - row.y))
t = train(on = points, update = {net: net}) {
  loss = row => mean(square(net(row.x[:, newaxis])[:, 0] - row.y))
  budget = 1steps
}
slopes = measure(on = points, row => {loss: gap(t.net, row), slope: grad(gap(t.net, row), wrt = weights(t.net))})
old    = 0.5 * weights(t.net)
again  = measure(on = points, row => {
  total: sum(slopes.slope), square: sum(square(slopes.slope)), half: sum(old)
})
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_measured_tree_is_the_mean_over_rows(
    tmp_path: Path, store: Store, table: dict[str, np.ndarray], backend: str
) -> None:
    compiled = compile_text(MEASURED, "test.etude", tmp_path)
    assert not compiled.has_errors, [d.message for d in compiled.diagnostics]
    assert compiled.workflow is not None
    result = run(compiled.workflow, store=store, backend=backend, base=tmp_path)
    by_name = {stage.name: stage for stage in compiled.workflow.stages.values()}

    def value(name: str, port: str = "value") -> object:
        return result.value(Ref(by_name[name].id, port))

    def file(name: str, port: str) -> list[np.ndarray]:
        hash = result.output(Ref(by_name[name].id, port))
        assert hash is not None
        return load_weights(store.objects.path(hash))

    w, b = (float(weight.ravel()[0]) for weight in file("t", "0"))
    gap = table["x"].astype(np.float64) * w + b - table["y"]
    slope_w, slope_b = np.mean(2 * gap * table["x"]), np.mean(2 * gap)
    found = [float(leaf.ravel()[0]) for leaf in file("slopes", "tree.1")]
    again = value("again")

    assert found == pytest.approx([slope_w, slope_b], rel=1e-4)
    assert value("slopes") == pytest.approx({"loss": np.mean(gap**2)}, rel=1e-4)
    assert isinstance(again, dict)
    assert again["total"] == pytest.approx(slope_w + slope_b, rel=1e-4, abs=1e-6)
    assert again["square"] == pytest.approx(slope_w**2 + slope_b**2, rel=1e-4)
    assert again["half"] == pytest.approx((w + b) / 2, rel=1e-4, abs=1e-6)


def test_split_classes_gives_the_rows_of_each_group(tmp_path: Path, store: Store, table: dict[str, np.ndarray]) -> None:
    text = """
    points = load("points.csv", target = "y") |> map(row => {...row, label: as_label(row.kind, classes = 4)})
    parts  = split_classes(drop(points, "kind"), [[0, 3], [1]])
    low    = measure(on = parts[0], row => row.label == 0 or row.label == 3)
    high   = measure(on = parts[1], row => {only: row.label == 1, x: row.x})
    """
    compiled = compile_text(text, "test.etude", tmp_path)
    assert compiled.workflow is not None and not compiled.has_errors, [d.message for d in compiled.diagnostics]
    result = run(compiled.workflow, store=store, backend="torch", base=tmp_path)
    values = {}
    for stage in compiled.workflow.stages.values():
        if stage.kind == "measure":
            values[stage.name] = result.value(Ref(stage.id, "value"))

    assert values["low"] == 1.0
    assert values["high"] == pytest.approx({"only": 1.0, "x": float(np.mean(table["x"][table["kind"] == 1]))}, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("split_classes(digits, [[0, 1], [1, 2]])", "E314"),
        ("split_classes(digits, [[0, 10]])", "E301"),
        ("split_classes(digits, [])", "E301"),
        ('split_classes(drop(digits, "label"), [[0]])', "E314"),
        ("split_classes(digits, 3)", "E301"),
    ],
)
def test_groups_that_are_no_partition_of_classes_are_refused(tmp_path: Path, call: str, code: str) -> None:
    text = f'digits = load("sklearn:digits")\nparts = {call}'
    assert [d.code for d in compile_text(text, "test.etude", tmp_path).diagnostics] == [code]


def test_a_record_of_groups_gives_parts_by_name(tmp_path: Path) -> None:
    text = 'digits = load("sklearn:digits")\nparts = split_classes(digits, {even: [0, 2], odd: [1]})\nn = parts.even'
    assert compile_text(text, "test.etude", tmp_path).diagnostics == []
