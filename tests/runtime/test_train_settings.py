"""Settings of `train` in whole recipes, on both frameworks: orders, checkpoints, probes, going on, times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.naming import shown_output
from etude.runtime.parity import check_parity
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

HEAD = """
irises = load("sklearn:iris")
parts  = split(irises, train = 80%, valid = 20%, seed = 0)
net    = mlp([8, 3], seed = 1)
data   = parts.train |> map(({features, label}) => {features, label, w: float(label == 2), hard: features[2]})
fn right(m) = accuracy(m, on = parts.valid)
shared = {loss: ({features, label}) => cross_entropy(net(features), label), batch: 32}
"""
RECIPE = f"""{HEAD}
kept = train(on = data, update = {{net: net}}, ...shared) {{
  budget      = 30steps
  keep        = all
  valid_every = 12steps
  watch       = {{right: m => right(m), above: m => right(m) > 2}}
  watch_every = 10steps
}}
plain = train(on = data, update = {{net: net}}, ...shared, budget = 30steps)
steps = [c.step for c in kept.checkpoints]
ends  = [c.epoch for c in kept.checkpoints]
each  = [right(c.net) for c in kept.checkpoints]
same  = right(plain.net) - right(kept.net)
second = steps[1] + 0
epoch  = ends[2] + 0
last   = each[2] + 0
chosen = best(kept.checkpoints, by = c => right(c.net))
choice = right(chosen.net)

heavy  = train(on = data, update = {{net: net}}, ...shared, weights = "w", budget = 20steps)
thirds = measure(parts.valid, ({{features}}) => argmax(heavy.net(features)) == 2)

easy   = train(on = data, update = {{net: net}}, ...shared) {{
  order  = curriculum("hard", start = 30%, until = 100%)
  budget = 20steps
}}

both = train(on = {{a: data, b: parts.valid}}, update = {{net: net}}) {{
  loss    = ({{a, b}}) => cross_entropy(net(a.features), a.label) + 0 * mean(net(b.features))
  weights = {{a: "w"}}
  valid   = {{a: parts.valid, b: parts.valid}}
  score   = ({{a, b}}) => argmax(net(a.features)) == b.label
  keep    = best
  batch   = 32
  budget  = 12steps
}}
scored = right(both.net)

fast  = {{optimizer: adamw(lr = 3e-3)}}
first = train(on = data, update = {{net: net}}, ...shared, ...fast, budget = 15steps)
rest  = train(on = data, update = {{net: net}}, ...shared, ...fast, budget = 15steps, resume = first)
whole = train(on = data, update = {{net: net}}, ...shared, ...fast, budget = 30steps)
gap   = measure(parts.valid, ({{features}}) => sum(abs(rest.net(features) - whole.net(features))))
used  = measure(parts.valid, ({{features}}) => sum(heavy.net(features) + easy.net(features)))

fast_parts = train(on = data, update = {{net: net}}, ...shared, ...fast, budget = 30steps, accumulate = 4)
decided    = train(on = data, update = {{net: net}}, ...shared, ...fast, budget = 30steps, accumulate = auto)
rounding   = measure(parts.valid, ({{features}}) => max(abs(fast_parts.net(features) - whole.net(features))))
nothing    = measure(parts.valid, ({{features}}) => max(abs(decided.net(features) - whole.net(features))))

# a state that is used afterwards, validated with, and players with a validation
centred = train(on = data, update = {{net: net}}) {{
  loss = ({{features}}, {{center, net}}) => {{
    y = net(features)
    return {{loss: mean(square(y - center - 1)), state: {{center: 0.5 * center + 0.5 * mean(y, axis = 0)}}}}
  }}
  state  = {{center: zeros([3])}}
  valid  = parts.valid
  batch  = 32
  budget = 10steps
}}
middle = measure(parts.valid, ({{features}}) => sum(centred.state.center))

fn loss_of(m) = measure(parts.valid, ({{features, label}}) => cross_entropy(m(features), label))
calm = train(on = parts.train, update = {{net: net}}, batch = 32, budget = 12steps, ema = {{slow: slow(net, 0.8)}}) {{
  loss = ({{features, label}}) => cross_entropy(net(features), label)
}}
called = train(on = parts.train, update = {{net: net}}, batch = 32, budget = 12steps, ema = {{slow: slow(net, 0.8)}}) {{
  loss = ({{features, label}}, {{net, slow}}) => {{
    task: cross_entropy(net(features), label), none: 0.0 * mean(slow(features))
  }}
}}
lag     = loss_of(calm.slow) - loss_of(calm.net)
lag_too = loss_of(called.slow) - loss_of(called.net)

center = measure(parts.train, ({{features}}) => features)
share  = measure(parts.train, ({{label}}) => label == 0)
begun = train(on = parts.train, update = {{net: net}}, batch = 32, budget = 3steps) {{
  loss = ({{features, label}}, {{c, d}}) => {{
    loss: cross_entropy(net(features - c), label) + 0.0 * d, state: {{c: c + 1.0, d: d}}
  }}
  state = {{c: center, d: share}}
}}
moved  = mean(begun.state.c - center)
held   = max(begun.state.d) - share

other = mlp([8, 3], seed = 2)
pair = train(on = parts.train) {{
  updates = [
    step(update = {{net: net}}, loss = ({{features, label}}) => cross_entropy(net(features), label)),
    step(update = {{other: other}}, loss = ({{features}}) => {{a: mean(square(other(features))), b: 0.1}})
  ]
  valid  = parts.valid
  score  = ({{features, label}}) => argmax(other(features)) == label
  keep   = best
  batch  = 32
  budget = 3epochs
}}
pupil = right(pair.other)
"""


def compiled(text: str) -> Workflow:
    compilation = compile_text(text, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    return compilation.workflow


@pytest.fixture(scope="module", params=["torch", "jax"])
def result(request: Any, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    store = Store(tmp_path_factory.mktemp("settings") / "store")
    return run(compiled(RECIPE), store=store, backend=request.param, base=Path(), jobs=1)


def history(result: RunResult, name: str) -> Any:
    stage = next(each for each in result.stages.values() if each.name == name)
    return shown_output("history", result.store.read_json(stage.outputs["history"]), stage.names)


def test_checkpoints_are_models_with_their_steps(result: RunResult) -> None:
    assert not result.failed
    metrics = result.metrics
    assert metrics["second"] == 24
    assert metrics["epoch"] == pytest.approx(30 * 32 / 120)
    assert metrics["choice"] >= metrics["last"]


def test_probes_write_the_history_and_change_no_number(result: RunResult) -> None:
    rows = history(result, "kept")
    found = [(row["step"], row["watch.above"]) for row in rows if "watch.right" in row]
    assert found == [(10, 0.0), (20, 0.0), (30, 0.0)]
    assert rows[-1]["watch.right"] == pytest.approx(result.metrics["last"])
    assert result.metrics["same"] == 0


def test_weights_decide_which_rows_come(result: RunResult) -> None:
    assert result.metrics["thirds"] == 1


def test_a_training_goes_on_to_the_same_bits_as_one_that_was_never_divided(result: RunResult) -> None:
    assert result.metrics["gap"] == 0
    rows = history(result, "rest")
    assert (rows[0]["step"] > 15, rows[-1]["step"]) == (True, 30)


def test_a_batch_in_parts_gives_the_same_up_to_rounding(result: RunResult) -> None:
    assert result.metrics["rounding"] < 1e-5
    assert result.metrics["nothing"] == 0


def test_a_state_can_be_used_afterwards_and_is_validated_with(result: RunResult) -> None:
    assert result.metrics["middle"] != 0
    assert "valid.loss" in history(result, "centred")[-1]


def test_a_slow_copy_that_no_loss_calls_is_the_one_that_a_loss_calls(result: RunResult) -> None:
    assert result.metrics["lag"] == pytest.approx(result.metrics["lag_too"], abs=1e-7)
    assert result.metrics["lag"] > 0


def test_a_state_may_begin_with_what_was_measured(result: RunResult) -> None:
    assert result.metrics["moved"] == pytest.approx(3.0, abs=1e-5)
    assert result.metrics["held"] == pytest.approx(0.0, abs=1e-6)


def test_several_players_are_validated_each(result: RunResult) -> None:
    last = history(result, "pair")[-1]
    assert last["valid.loss"] == pytest.approx(last["valid.net.loss"] + last["valid.other.loss"], rel=1e-5)
    assert {"valid.score"} <= last.keys()


def test_the_frameworks_agree(tmp_path: Path) -> None:
    parity = check_parity(compiled(RECIPE), store=Store(tmp_path / "store"), base=Path(), jobs=1)
    assert [stage.failure for stage in parity.stages if not stage.agrees] == []
    assert {"kept", "heavy", "easy", "both", "rest", "fast_parts", "centred", "pair"} <= {
        stage.name for stage in parity.stages
    }


def test_a_budget_of_time_ends_when_it_is_over_and_is_keyed_by_the_computer(tmp_path: Path) -> None:
    text = (
        "t = train(on = data, update = {net: net}, ...shared, schedule = cosine(), budget = 200ms)\nend = right(t.net)"
    )
    result = run(compiled(HEAD + text), store=Store(tmp_path / "store"), backend="torch", base=Path(), jobs=1)
    last = history(result, "t")[-1]
    assert not result.failed
    assert last["step"] > 0
    assert last["lr"] < 1e-3


def test_tokens_are_rows_of_one_length() -> None:
    text = """
ids = generate(40examples, () => {ids: randint(0, 9, [16])})
net = embed(9, 4) >> (x => mean(x, axis = 1)) >> linear(1)
t = train(on = ids, update = {net: net}, loss = ({ids}) => mean(net(ids)), budget = 1000tokens)
"""
    (stage,) = (stage for stage in compiled(text).stages.values() if stage.kind == "train")
    assert stage.spec["budget"] == {"examples": 63}
