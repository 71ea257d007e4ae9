"""A run under other names: nothing is executed, and people see the names of the recipe that was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.compiler.workflow import Ref
from etude.runtime.compiling import compile_text
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

DATA = 'digits = load("sklearn:digits") |> split(train = 60%, valid = 20%, test = 20%)\n'
RUN = (
    DATA
    + """
net = flatten >> mlp([8, 10])
judge = mlp([1])
shared = {batch: 64, valid: digits.valid}
t = train(on = digits.train, update = {net: net}, ...shared) {
  loss = ({image, label}, {net, slow_net, center, other}) => {
    return {
      loss: {task: cross_entropy(net(image), label) + 0 * sum(slow_net(image)), size: mean(square(net(image)))},
      state: {center: 0.9 * center + 0.1 * mean(image), other: other + 1}
    }
  }
  ema    = {slow_net: slow(net, 0.99)}
  state  = {center: 0.0, other: zeros([2])}
  score  = ({image, label}) => {hits: argmax(net(image)) == label, sure: max(net(image))}
  keep   = best
  watch  = {look: m => accuracy(m.net, on = digits.test)}
  budget = 8steps
}
more = train(on = digits.train, update = {net: net}, batch = 64, resume = t, budget = 4steps) {
  loss = ({image, label}, {net, slow_net, center, other}) => {
    return {
      loss: {task: cross_entropy(net(image), label) + 0 * sum(slow_net(image)), size: mean(square(net(image)))},
      state: {center: 0.9 * center + 0.1 * mean(image), other: other + 1}
    }
  }
  ema    = {slow_net: slow(net, 0.99)}
  state  = {center: 0.0, other: zeros([2])}
}
pair = train(on = digits.train, batch = 64, valid = digits.valid, budget = 8steps) {
  updates = [
    step(update = {judge: judge}) { loss = ({image}) => mean(square(judge(flatten(image)))) },
    step(update = {net: net}) { loss = ({image, label}) => cross_entropy(net(image), label) }
  ]
}
found = measure(on = digits.test, ({image, label}) => {
  right: argmax(more.net(image)) == label, most: max(t.net(image))
})
first = found.right
report {
  curves = plot(t.history, pair.history, y = ["loss", "size", "valid.judge.loss", "watch.look"])
  losses = plot(pair.history)
  table_ = table([{share: found.right, most: found.most}])
}
"""
)
OTHER_NAMES = {
    "task": "main",
    "size": "aaa",
    "center": "zmiddle",
    "slow_net": "late",
    "hits": "goals",
    "look": "glance",
    "judge": "zealot",
    "right": "correct",
    "share": "portion",
    "train =": "learn =",
    "digits.train": "digits.learn",
}


def performed(text: str, store: Path, backend: str) -> RunResult:
    compilation = compile_text(text, "recipe.etude", Path())
    assert compilation.workflow is not None, [str(each.message) for each in compilation.diagnostics]
    result = run(compilation.workflow, store=Store(store), backend=backend, base=Path(), jobs=1)
    assert not result.failed, [stage.failure for stage in result.failed]
    return result


def shown(result: RunResult) -> dict[str, Any]:
    """The histories and the report as people see them."""
    stages = {stage.name: stage for stage in result.workflow.stages.values()}
    histories = {name: result.value(Ref(stages[name].id, "history")) for name in ("t", "more", "pair")}
    return {**histories, **{name: result.value(ref) for name, ref in result.workflow.report}}


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_run_under_other_names_runs_nothing_and_shows_them(backend: str, tmp_path: Path) -> None:
    first = performed(RUN, tmp_path, backend)
    before, other = shown(first), edited(RUN, *OTHER_NAMES.items())
    again = performed(other, tmp_path, backend)
    assert [stage.name for stage in again.stages.values() if stage.action == "run"] == []

    seen = shown(again)
    assert {"main", "aaa", "valid.main", "valid.goals", "valid.sure", "watch.glance"} <= seen["t"][-1].keys()
    assert {"zealot.loss", "net.loss", "valid.zealot.loss"} <= seen["pair"][-1].keys()
    renamed = {name: OTHER_NAMES.get(name, name) for name in ("task", "size", "hits", "look", "judge")}

    def called(column: str) -> str:
        return ".".join(renamed.get(part, part) for part in column.split("."))

    for name in ("t", "more", "pair"):
        assert [{called(column): value for column, value in row.items()} for row in before[name]] == seen[name]
    assert seen["table_"] == {**before["table_"], "columns": ["portion", "most"]}
    assert {*seen["losses"]["y"]} == {*map(called, before["losses"]["y"])} >= {"zealot.loss", "valid.zealot.loss"}
    drawn = [(each["label"], each["y"]) for each in seen["curves"]["series"] if each["y"]]
    assert [label for label, _ in drawn] == [
        "t loss", "t aaa", "t watch.glance", "pair valid.zealot.loss",
    ]  # fmt: skip
    assert [values for _, values in drawn] == [each["y"] for each in before["curves"]["series"] if each["y"]]

    longer = performed(edited(other, ("budget = 4steps", "budget = 6steps")), tmp_path, backend)
    assert next(stage.name for stage in longer.stages.values() if stage.action == "run") == "more"


def edited(text: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text
