"""`when`: stages that run or not by a measured value, on whole recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.planning import plan_stages
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.stages import Settings
from etude.runtime.store import Store

HEAD = """
irises = load("sklearn:iris")
length = measure(on = irises, ({features}) => features[2])     # 3.758
long   = filter(irises, ({features}) => features[2] > 5)
short  = filter(irises, ({features}) => features[2] < 2)
fn widest(d) = measure(on = d, ({features}) => features[3])
"""


def ran(text: str, folder: Path, **settings: Any) -> tuple[RunResult, dict[str, str]]:
    """The result of a recipe, and what was done with each stage by its name."""
    workflow = compile_text(HEAD + text, "when.etude", Path()).workflow
    assert workflow is not None
    result = run(workflow, store=Store(folder / "store"), backend="torch", base=Path(), jobs=1, **settings)
    return result, {stage.name: stage.action for stage in result.stages.values()}


@pytest.mark.parametrize(("limit", "expected", "left_out"), [(3, 2.06, "short"), (4, 0.246, "long")])
def test_only_the_arm_that_is_needed_runs(limit: int, expected: float, left_out: str, tmp_path: Path) -> None:
    text = f"""
    chosen = when(length > {limit},
      then = () => {{data: map(long, row => {{...row, arm: 1}}), name: "long", times: 1}},
      else = () => {{data: map(short, row => {{...row, arm: 2}}), name: "short", times: 2}})
    mean_ = widest(chosen.data)
    times = chosen.times + 0
    report {{ of = table([{{name: chosen.name}}]) }}
    """
    result, done = ran(text, tmp_path)
    assert not result.failed
    assert result.metrics["mean_"] == pytest.approx(expected, abs=0.05)
    assert result.metrics["times"] == (1 if left_out == "short" else 2)
    arms = {"long": "chosen[then]", "short": "chosen[else]"}
    skipped = {name for name, action in done.items() if action == "skipped"}
    assert any(name.startswith(arms[left_out]) for name in skipped), done
    assert not any(name.startswith(arms["short" if left_out == "long" else "long"]) for name in skipped), done


def test_an_arm_without_its_measured_value_is_the_other_one(tmp_path: Path) -> None:
    text = """
    none_  = filter(irises, ({features}) => features[2] > 100)
    chosen = when(widest(none_) > 1, then = () => long, else = () => short)
    mean_  = widest(chosen)
    """
    result, _ = ran(text, tmp_path)
    assert result.metrics["mean_"] == pytest.approx(0.246, abs=0.05)


def test_a_condition_in_an_arm_stands_behind_that_of_the_arm(tmp_path: Path) -> None:
    text = """
    chosen = when(length > 4, then = () => when(length > 3, then = () => widest(long), else = 5), else = 7)
    value  = chosen + 0
    """
    result, _ = ran(text, tmp_path)
    assert result.metrics["value"] == 7


def test_a_stage_that_two_conditions_want_runs_when_one_of_them_holds(tmp_path: Path) -> None:
    text = """
    fn more() = map(long, row => {...row, twice: 2 * row.features[2]})
    one = when(length > 100, then = () => widest(more()), else = 0)
    two = when(length > 1, then = () => widest(more()), else = 0)
    """
    result, _ = ran(text, tmp_path)
    assert not result.failed
    assert result.metrics["one"] == 0 and result.metrics["two"] == pytest.approx(2.06, abs=0.05)


def test_a_plan_says_what_may_run(tmp_path: Path) -> None:
    text = (
        HEAD
        + "chosen = when(length > 3, then = () => widest(map(long, row => {...row, a: 1})), else = 1)\nx = chosen + 0"
    )
    workflow = compile_text(text, "when.etude", Path()).workflow
    assert workflow is not None
    planned = plan_stages(workflow, Store(tmp_path / "store"), Settings(backend="torch"), Path())
    reasons = {each.stage.name: each.reason for each in planned.values()}
    behind = [reason for name, reason in reasons.items() if name.startswith("chosen[then]")]
    assert behind and all(reason.startswith("may run: ") for reason in behind), reasons


def test_the_best_of_none_that_is_allowed_is_a_failure(tmp_path: Path) -> None:
    text = "parts = [long, short]\nbest_ = best(parts, by = widest, where = d => widest(d) > 100)\nm = widest(best_)"
    result, _ = ran(text, tmp_path)
    assert result.failed
    assert "'where' holds for none of the 2 elements" in str([stage.failure for stage in result.stages.values()])
    assert result.metrics["m"] is None


def test_one_element_that_is_not_allowed_is_a_failure_too(tmp_path: Path) -> None:
    text = "best_ = best([long], by = widest, where = d => widest(d) > 100)\nm = widest(best_)"
    assert ran(text, tmp_path / "a")[0].failed
    text = "best_ = best([long], by = widest, where = d => widest(d) > 1)\nm = widest(best_)"
    result, _ = ran(text, tmp_path / "b")
    assert result.metrics["m"] == pytest.approx(2.06, abs=0.05)


def test_the_front_has_what_nothing_else_beats(tmp_path: Path) -> None:
    text = """
    tried = [{d: long, cost: 3}, {d: short, cost: 1}, {d: irises, cost: 4}]
    seen  = pareto(tried, by = [t => widest(t.d), t => -t.cost])
    first = when(seen[0].front, then = 1, else = 0) + 0
    last  = when(seen[2].front, then = 1, else = 0) + 0
    """
    result, _ = ran(text, tmp_path)
    assert (result.metrics["first"], result.metrics["last"]) == (1, 0)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_best_of_models_that_compute_differently_is_one_of_them(backend: str, tmp_path: Path) -> None:
    text = """
    tried  = [{m: mlp([4, 1]), cost: 2}, {m: mlp([4, 1], act = tanh), cost: 1}, {m: mlp([3, 1]), cost: 3}]
    chosen = best(tried, by = t => length / t.cost)
    fn out(m) = measure(on = irises, ({features}) => m(features)[0])
    found  = out(chosen.m)
    wanted = out(tried[1].m)
    """
    workflow = compile_text(HEAD + text, "when.etude", Path()).workflow
    assert workflow is not None
    result = run(workflow, store=Store(tmp_path / "store"), backend=backend, base=Path(), jobs=1)
    assert not result.failed, [stage.failure for stage in result.stages.values() if stage.failure]
    assert result.metrics["found"] == pytest.approx(result.metrics["wanted"])


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_model_that_no_condition_allows_is_a_failure_and_one_that_it_allows_is_chosen(
    backend: str, tmp_path: Path
) -> None:
    text = """
    fn learn(width) = finetune(mlp([width, 3]), on = irises, budget = 5steps, seed = 1)
    nets  = [learn(w) for w in [4, 8, 16]]
    small = best(nets, by = m => accuracy(m, on = irises), where = m => size(m).parameters < 64)
    same  = accuracy(small, on = irises) - max([accuracy(m, on = irises) for m in nets[0:2] if size(m).parameters < 64])
    alike = [learn(8), finetune(learn(8), on = irises, budget = 5steps)]
    none_ = best(alike, by = m => accuracy(m, on = irises), where = m => accuracy(m, on = irises) > 2)
    other = accuracy(none_, on = irises)
    """
    workflow = compile_text(HEAD + text, "when.etude", Path()).workflow
    assert workflow is not None
    result = run(workflow, store=Store(tmp_path / "store"), backend=backend, base=Path(), jobs=1)
    assert result.metrics["same"] == pytest.approx(0, abs=1e-6) and result.metrics["other"] is None
    assert [s.name for s in result.stages.values() if s.action == "failed"] == ["none_.require"]
