"""Equal blocks as a scan are the same training as blocks one after the other, whichever a timing chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend, Extras, TrainResult, load
from etude.backends.batches import mix64
from etude.backends.dispatch import Work
from etude.backends.emission import Emitted
from etude.backends.jax.emit import emit_train
from etude.backends.jax.scanning import SCAN, UNROLLED, Scanning, is_worth_trying, reason
from etude.compiler.passes.scan import equal_blocks
from etude.runtime.compiling import compile_text

Spec = dict[str, Any]
TakenUp = Callable[..., TrainResult]
Equal = Callable[[TrainResult, TrainResult], None]

TOWER = """
model block(rate: float)(x, scale) {
  dim = x.shape[-1]
  return x + scale * dropout(tanh(linear(dim)(x)), rate)
}
model tower(depth: int, rate: float)(image) {
  scale  = weight([4], init = ones)
  blocks = [block(rate) for _ in 1..depth]
  return chain(blocks)(linear(4)(flatten(image)), scale)
}
digits = load("sklearn:digits")
net    = tower(6, 0.2) >> linear(10)
"""
PLAIN = """
t = train(on = digits, update = net) {
  loss = (x, y) => cross_entropy(net(x), y)
  optimizer = sgd(lr = 0.1, momentum = 0.9)
  batch = 8
  budget = 6steps
}
"""
SLOW = """
t = train(on = digits, update = net) {
  loss = (x, y, {slow}) => cross_entropy(net(x), y) + mean((slow(x) - net(x)) ** 2)
  ema = {slow: slow(net, 0.9)}
  optimizer = sgd(lr = 0.1, groups = [{at: "**.blocks.2.**", lr: 0.01}])
  batch = 8
  budget = 6steps
  clip = 1.0
  accumulate = 2
  valid = digits
  valid_every = 3steps
}
"""
PLAYERS = """
other = flatten >> linear(10)
t = train(on = digits) {
  updates = [
    step(update = {net: net}, optimizer = sgd(lr = 0.1)) { loss = (x, y) => cross_entropy(net(x), y) },
    step(update = {other: other}, optimizer = sgd(lr = 0.1)) { loss = (x, y) => cross_entropy(other(x) + net(x), y) }
  ]
  ema = {slow: slow(net, 0.9)}
  batch = 8
  budget = 6steps
}
"""


def spec_of(training: str, tower: str = TOWER) -> Spec:
    compilation = compile_text(tower + training, "tower.etude", Path.cwd())
    assert compilation.workflow is not None, [diagnostic.message for diagnostic in compilation.diagnostics]
    (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "train")
    return dict(stage.spec)


class Trainer:
    """Trains on random images with the form that a timing is made to choose, or without the pass where that is None."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.folder = patch, folder
        self.backend: Backend = load("jax", device="cpu", threads=1)
        self.measured: list[str] = []
        generator = np.random.default_rng(0)
        image = generator.uniform(size=(40, 8, 8, 1)).astype(np.float32)
        self.data = {"image": image, "label": generator.integers(0, 10, 40).astype(np.int32)}
        self.ids = mix64(np.arange(40, dtype=np.uint64))

    def __call__(self, spec: Spec, form: str | None, **more: Any) -> TrainResult:
        def measure(scanning: Scanning, name: str, work: Work) -> dict[str, float]:
            self.measured.append(name)
            return {"compile": 1.0, "step": 1.0 if name == form else 2.0}

        timings = self.folder / f"timings-{form}"
        timings.mkdir(exist_ok=True)
        self.patch.setattr(Scanning, "_measured", measure)
        self.patch.setattr("etude.backends.jax.chunks.compiled_folder", lambda: timings)
        valid = (self.data, self.ids) if spec.get("valid") else None
        given = (spec, self.data, self.ids, valid, {}, self.folder, lambda event: None, lambda: False)
        return self.backend.train(*given, record="step", extras=Extras(without=() if form else (SCAN,)), **more)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trainer:
    return Trainer(monkeypatch, tmp_path)


@pytest.mark.parametrize("training", [PLAIN, SLOW, PLAYERS])
def test_a_scan_is_the_same_training_up_to_rounding(
    train: Trainer, assert_equal_to_the_bit: Equal, tmp_path: Path, training: str
) -> None:
    spec = spec_of(training)
    unrolled, without = train(spec, UNROLLED), train(spec, None)
    scanned = train(spec, SCAN)

    assert "over_blocks(" in (tmp_path / "step.py").read_text()
    assert [found.rewrites and found.rewrites[SCAN]["is_used"] for found in (scanned, unrolled)] == [True, False]
    assert without.rewrites == {}
    assert_equal_to_the_bit(unrolled, without)
    for row, expected in zip(scanned.history, unrolled.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    for weight, expected in zip(scanned.weights, unrolled.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_a_training_that_is_taken_up_goes_on_in_the_form_in_which_it_began(
    train: Trainer, taken_up: TakenUp, assert_equal_to_the_bit: Equal
) -> None:
    spec = spec_of(PLAIN)
    forms = iter([SCAN, UNROLLED])
    whole = train(spec, SCAN)

    again = taken_up(lambda **given: train(spec, next(forms), **given), every=2, end=5)

    assert again.rewrites[SCAN]["is_used"]
    assert_equal_to_the_bit(again, whole)


def test_what_a_scan_has_begun_is_done_anew_where_none_is_wanted(
    train: Trainer, taken_up: TakenUp, assert_equal_to_the_bit: Equal
) -> None:
    spec = spec_of(PLAIN)
    forms, results = iter([SCAN, None]), []

    def run(**given: Any) -> TrainResult:
        results.append(train(spec, next(forms), **given))
        return results[-1]

    with pytest.raises(AssertionError):  # of `taken_up`, which wants it to go on
        taken_up(run, every=2, end=5)
    (again,) = results
    assert (again.continued, again.rewrites) == ([], {})
    assert_equal_to_the_bit(again, train(spec, None))


def test_each_form_is_measured_once(train: Trainer) -> None:
    spec = spec_of(PLAIN)

    first, second = train(spec, SCAN), train(spec, SCAN)

    assert train.measured == [SCAN, UNROLLED]
    assert first.rewrites == second.rewrites


def test_to_try_another_form_has_to_be_worth_compiling_it() -> None:
    slow = {SCAN: {"compile": 3.0, "step": 0.1}}

    assert is_worth_trying({}, 1)
    assert not is_worth_trying(slow, 100)
    assert is_worth_trying(slow, 200)
    assert reason(slow | {UNROLLED: {"compile": 6.0, "step": 0.05}}, 200) == (
        "200 steps: scan 3.00 s + 100.0 ms each; unrolled 6.00 s + 50.0 ms each"
    )


def emitted(training: str, tower: str = TOWER) -> Emitted:
    return emit_train(spec_of(training, tower), scans=2)


def test_weights_of_blocks_that_learn_alike_are_one_array() -> None:
    whole, groups = emitted(PLAIN).source, emitted(SLOW).source

    assert '("net_tower.blocks", 0, 6, ("linear.w", "linear.b")),' in whole
    assert "STACKS" not in groups  # one block of six has a rate of its own
    assert "over_blocks(" in groups
    assert "STACKS" not in emitted(PLAIN.replace("sgd(lr = 0.1, momentum = 0.9)", "lamb(lr = 0.1)")).source


@pytest.mark.parametrize(
    ("block", "lengths"),
    [
        ("blocks = [block(rate) for _ in 1..depth]", [6]),
        ("blocks = [block(if i == 3 then 0.5 else rate) for i in 1..depth]", [2, 3]),
        ("blocks = [batch_norm() for _ in 1..depth]", []),
        ("one = block(rate)\n  blocks = [one for _ in 1..depth]", []),
    ],
)
def test_only_blocks_of_one_program_without_running_values_are_scanned(block: str, lengths: list[int]) -> None:
    tower = TOWER.replace("blocks = [block(rate) for _ in 1..depth]", block)
    if "batch_norm" in block:
        tower = tower.replace("image)), scale)", "image)))")
    assert sorted(emitted(PLAIN, tower).blocks) == lengths


def test_a_plan_knows_how_many_blocks_are_equal() -> None:
    assert equal_blocks(spec_of(PLAIN)) == 6
    assert equal_blocks(spec_of(PLAIN, TOWER.replace("tower(6", "tower(5"))) == 0
