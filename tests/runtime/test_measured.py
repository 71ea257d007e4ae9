"""Values known after the run, on whole recipes: as constants, and with the operations of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

TABLE = "x,y,label\n" + "".join(f"{i / 2},{i * i},{i % 3}\n" for i in range(10))
HEAD = 'd = load("t.csv")\n'
X, Y, LABEL = np.arange(10) / 2, np.arange(10) ** 2, np.arange(10) % 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


def ran(text: str, folder: Path, backend: str = "torch") -> RunResult:
    compiled = compile_text(HEAD + text, "measured.etude", folder)
    assert compiled.workflow is not None, [d.message for d in compiled.diagnostics]
    return run(compiled.workflow, store=Store(folder / "store"), backend=backend, base=folder, jobs=1)


def metrics(text: str, folder: Path) -> dict[str, Any]:
    result = ran(text, folder)
    assert not result.failed, [stage.failure for stage in result.stages.values() if stage.failure]
    return dict(result.metrics)


def test_a_measured_number_is_a_constant_of_functions_of_rows(folder: Path) -> None:
    found = metrics(
        """
        m     = measure(on = d, ({x}) => x)
        shift = map(d, ({x}) => {x: x - m})
        far   = filter(d, ({x}) => x > m)
        mean_ = measure(on = shift, ({x}) => square(x))
        many  = measure(on = far, ({x}) => x)
        """,
        folder,
    )
    assert found["mean_"] == pytest.approx(np.var(X))
    assert found["many"] == pytest.approx(X[X.mean() < X].mean())


def test_operations_on_all_rows_are_those_of_numpy(folder: Path) -> None:
    found = metrics(
        """
        t = collect(d, ({x, y}) => {x: x, pair: stack([x, float(y)])})
        y = column(d, "y")
        spread = sqrt(mean(square(t.x - mean(t.x))))
        gram   = (transpose(t.pair) @ t.pair)[0, 1]
        place  = argmax(t.x * (10 - y))
        there  = t.x[place]
        most   = sort(t.x)[9]
        count  = t.x.shape[0] + 0
        half   = mean(float(y > 20)) + 0
        """,
        folder,
    )
    pair = np.stack([X, Y], axis=1)
    assert found["spread"] == pytest.approx(X.std())
    assert found["gram"] == pytest.approx((pair.T @ pair)[0, 1])
    assert found["place"] == np.argmax(X * (10 - Y)) and found["there"] == X[found["place"]]
    assert (found["most"], found["count"], found["half"]) == (4.5, 10, 0.5)


def test_means_of_tensors_are_taken_apart_by_class(folder: Path) -> None:
    found = metrics(
        """
        c     = d |> map(({x, y, label}) => {p: stack([x, float(y)]), l: as_label(int(label), classes = 4)})
        parts = measure(on = c, by = "l", ({p}) => p)
        whole = measure(on = c, ({p}) => {p: p, n: 1})
        one   = parts[1][1] + 0
        all_  = whole.p[1] + 0
        none_ = parts[3][0] + 0
        bank  = stack(parts)
        near  = measure(on = c, ({p, l}) => argmin(sum(square(bank[0:3] - p), axis = -1)) == int(l))
        """,
        folder,
    )
    assert found["one"] == pytest.approx(Y[LABEL == 1].mean())
    assert found["all_"] == pytest.approx(Y.mean())
    assert found["none_"] is None
    assert 0 <= found["near"] <= 1


def test_means_of_tensors_may_be_weighted(folder: Path) -> None:
    found = metrics(
        """
        w = measure(on = d, ({x, y}) => {value: stack([x, float(y)]), weight: x})
        a = w[0] + 0
        b = w[1] + 0
        """,
        folder,
    )
    assert found["a"] == pytest.approx(np.average(X, weights=X))
    assert found["b"] == pytest.approx(np.average(Y, weights=X))


def test_what_does_not_exist_makes_nothing(folder: Path) -> None:
    text = """
    none_ = filter(d, ({x}) => x > 100)
    m     = measure(on = none_, ({x}) => x)
    twice = 2 * sqrt(m) + maximum(m, 3)
    expect m > 1 because "there is nothing to tell"
    """
    result = ran(text, folder)
    assert not result.failed and result.metrics["twice"] is None
    assert [verdict.verdict for verdict in result.claims] == ["cannot tell"]
    failed = ran(
        text.split("expect")[0] + "shift = map(d, ({x}) => {x: x - m})\na = measure(on = shift, ({x}) => x)", folder
    )
    assert "has no value" in str([stage.failure for stage in failed.stages.values()])


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_measured_number_in_a_loss_and_in_a_model_counts_as_if_it_were_written_there(
    backend: str, folder: Path
) -> None:
    text = """
    model scaled(factor: float)(x) {{ return factor * x }}
    m    = {value}
    data = d |> map(({{x, y}}) => {{x: stack([x]), y: float(y)}})
    net  = linear(1) >> scaled(factor = m)
    t    = train(on = data, update = {{net: net}}, budget = 5steps) {{
      loss = ({{x, y}}) => m * mean(square(net(x)[:, 0] - y))
    }}
    result = measure(on = data, ({{x, y}}) => square(t.net(x)[0] - y))
    """
    measured, written = (
        ran(text.format(value=value), folder, backend).metrics["result"]
        for value in ("measure(on = d, ({x}) => x)", str(X.mean()))
    )
    assert measured == pytest.approx(written, rel=1e-6)


def test_rows_hold_plain_and_measured_values(folder: Path) -> None:
    found = metrics(
        """
        m = measure(on = d, ({x}) => x)
        t = collect(d, ({x}) => x)
        r = rows([{name: "a", v: 1, w: m, z: [1, m]}, {name: "b", v: 2.5, w: 0, z: [m, 4]}])
        v = measure(on = r, ({v}) => v)
        w = measure(on = r, ({w}) => w)
        z = measure(on = r, ({z}) => z[1])
        b = measure(on = filter(r, ({name}) => name == "b"), ({v}) => v)
        """,
        folder,
    )
    assert (found["v"], found["b"]) == (1.75, 2.5)
    assert found["w"] == pytest.approx(X.mean() / 2) and found["z"] == pytest.approx((X.mean() + 4) / 2)


def test_numbers_of_known_rows_enter_functions_whole(folder: Path) -> None:
    found = metrics(
        """
        few  = sample(d, 4examples)
        bank = collect(few, ({x}) => x)
        near = measure(on = few, ({x}) => min(abs(bank - x)))
        """,
        folder,
    )
    assert found["near"] == 0


def test_functions_of_numbers_known_after_the_run(folder: Path) -> None:
    found = metrics(
        """
        m = measure(on = d, ({x}) => x)
        a = abs(1 - m) + square(m) + exp(m) + log(m) + floor(m) + round(m)
        b = where(m > 2, min(m, 2), max(m, 2)) + int(m)
        c = (correlation([m, 2 * m, 1], [1, 2, 0.5]) + rank([m, 1, 2 * m])[1]) * std([m, m, m])
        d_ = argmax([1, m, 2 * m, 0]) + 0
        """,
        folder,
    )
    m = X.mean()
    assert found["a"] == pytest.approx(abs(1 - m) + m * m + np.exp(m) + np.log(m) + 2 + 2)
    assert (found["b"], found["c"], found["d_"]) == (4, 0, 2)


def test_all_numbers_of_a_tree_are_reduced_outside_of_functions_as_inside(folder: Path) -> None:
    found = metrics(
        """
        data = d |> map(({x, y}) => {x: stack([x]), y: float(y)})
        net  = linear(3) >> linear(1)
        t    = train(on = data, update = {net: net}, budget = 3steps) {
          loss = ({x, y}) => mean(square(net(x)[:, 0] - y))
        }
        m    = measure(on = d, ({x}) => x)
        tree = measure(on = data, ({x, y}) => square(grad(square(t.net(x)[0] - y), wrt = weights(t.net))))
        out  = norm(weights(t.net)) + sum(m * tree) + max(tree) - mean(tree)
        in_  = measure(on = data, ({x}) => norm(weights(t.net)) + sum(m * tree) + max(tree) - mean(tree))
        """,
        folder,
    )
    assert found["out"] == pytest.approx(found["in_"], rel=1e-5)


def test_a_model_that_is_taken_out_of_a_run_brings_the_measured_values_that_it_holds(folder: Path) -> None:
    text = """
    model scaled(factor: float)(x) { return factor * x }
    m    = measure(on = d, ({x}) => x)
    data = d |> map(({x, y}) => {x: stack([x]), y: float(y)})
    net  = linear(1) >> scaled(factor = m)
    fit_ = train(on = data, update = {net: net}, budget = 2steps) { loss = ({x, y}) => mean(square(net(x)[:, 0] - y)) }
    out  = fit_.net
    one  = measure(on = data, ({x}) => out(x)[0])
    """
    compiled = compile_text(HEAD + text, "measured.etude", folder)
    assert compiled.workflow is not None
    (binding,) = compiled.workflow.models
    assert any("measured" in path for path, *_ in binding.weights)
    assert binding.forward() is not None


REPORT = """
pair = measure(on = d, ({x, y}) => stack([x, float(y)]))
all_ = collect(d, ({x, y}) => stack([x, float(y)]))
gram = transpose(all_) @ all_
own  = gram * 1.0
report {
  cells  = table([{name: "both", pair: pair, first: pair[0]}])
  column = table(zip({name: ["x", "y"], mean: pair}))
  square = heatmap(gram, rows = ["x", "y"], columns = ["x", "y"])
  rows   = heatmap([pair, pair * 2])
}
"""


def test_measured_tensors_stand_in_tables_and_heat_maps(folder: Path) -> None:
    result = ran(REPORT, folder)
    assert not result.failed, [stage.failure for stage in result.stages.values() if stage.failure]
    found = {name: result.value(ref) for name, ref in result.workflow.report}
    means = [pytest.approx(X.mean()), pytest.approx(Y.mean())]
    assert found["cells"]["rows"] == [["both", means, means[0]]]
    assert found["column"] == {"columns": ["name", "mean"], "rows": [["x", means[0]], ["y", means[1]]]}
    both = np.stack([X, Y])
    np.testing.assert_allclose(found["square"]["values"], both @ both.T, rtol=1e-6)
    assert found["rows"]["values"] == [means, [pytest.approx(2 * X.mean()), pytest.approx(2 * Y.mean())]]


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("t = heatmap(pair[0] * ones([200, 100]))", "20,000 numbers is too large for a table or a heat map"),
        ("t = table([{a: pair[0] * ones([200, 100])}])", "20,000 numbers is too large for a table or a heat map"),
        ("t = heatmap(pair)", "a list of rows, or a measured matrix"),
        ("t = heatmap([reshape(pair, [1, 2])])", "got a list with a tensor float32[1, 2]"),
    ],
)
def test_tensors_that_no_report_can_hold_are_refused(folder: Path, report: str, message: str) -> None:
    text = f"pair = measure(on = d, ({{x, y}}) => stack([x, float(y)]))\nreport {{ {report} }}"
    compiled = compile_text(HEAD + text, "measured.etude", folder)
    assert any(message in found.message and found.severity == "error" for found in compiled.diagnostics)
