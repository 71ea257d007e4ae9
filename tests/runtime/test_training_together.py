"""Recipes with players, slow copies, a carried state and several data sets, run and compared on both frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.naming import shown_output
from etude.runtime.parity import ParityResult, check_parity
from etude.runtime.store import Store

RECIPE = """
irises = load("sklearn:iris")
parts  = split(irises, few = 20%, rest = 80%, seed = 0)

# two players
generator     = mlp([8, 4], seed = 1)
discriminator = mlp([8, 1], act = leaky_relu, seed = 2)
gan = train(on = irises) {
  updates = [
    step(update = [discriminator], optimizer = adam(lr = 1e-3)) {
      loss = ({features}) => {
        real = discriminator(features)
        fake = discriminator(stop(generator(normal([features.shape[0], 3]))))
        return mean(softplus(-real)) + mean(softplus(fake))
      }
    },
    step(update = [generator], optimizer = adam(lr = 1e-3)) {
      loss = ({features}) => mean(softplus(-discriminator(generator(normal([features.shape[0], 3])))))
    }
  ]
  batch  = 32
  budget = 12steps
}

# a slow teacher, as in BYOL
net  = mlp([8, 4], seed = 3)
head = mlp([8, 4], seed = 4)
byol = train(on = irises) {
  update = {net: net, head: head}
  ema    = {teacher: slow(net, 0.5)}
  loss = ({features}, {net, head, teacher}) => {
    n = features.shape[0]
    online = head(net(features + 0.1 * normal([n, 4])))
    target = stop(teacher(features + 0.1 * normal([n, 4])))
    return mean((online - target) ** 2)
  }
  optimizer = sgd(lr = 0.05)
  batch  = 32
  budget = 12steps
}

# a teacher whose outputs are centred by what was seen, as in DINO
pupil = mlp([8, 6], seed = 5)
dino = train(on = irises) {
  update = {student: pupil}
  ema    = {teacher: slow(pupil, 0.9)}
  state  = {center: zeros([6])}
  loss = ({features}, {student, teacher, center, progress}) => {
    logits  = teacher(features + 0.1 * normal([features.shape[0], 4]))
    targets = stop(softmax((logits - center) / (0.2 - 0.1 * progress)))
    guesses = log_softmax(student(features) / 0.5)
    moved   = 0.9 * center + 0.1 * mean(logits, axis = 0)
    return {loss: -mean(sum(targets * guesses, axis = -1)), state: {center: moved}}
  }
  optimizer = adamw(lr = 1e-3)
  batch  = 32
  budget = 12steps
}

# few rows with labels, many without
classifier = mlp([8, 3], seed = 6)
semi = train(on = {labelled: parts.few, unlabelled: parts.rest}) {
  update = classifier
  loss = ({labelled, unlabelled}, {step}) => {
    known = classifier(labelled.features)
    wide  = log_softmax(classifier(unlabelled.features))
    doubt = -mean(sum(exp(wide) * wide, axis = -1))
    return {entropy: cross_entropy(known, labelled.label), spread: 0.1 * doubt * step / 12}
  }
  optimizer = adamw(lr = 1e-3)
  batch  = 16
  budget = 6epochs
}

drift = measure(irises, ({features}) => mean((byol.net(features) - byol.teacher(features)) ** 2))
drawn = generate(16examples, () => {features: gan.generator(normal([3]))})
report { spread = measure(drawn, ({features}) => mean(features)) }
report { drift = drift   players = plot(gan.history)   terms = plot(semi.history) }
"""


def output(parity: ParityResult, stage: str, port: str) -> Any:
    """A JSON output of a stage of the run that the comparison started from."""
    found = next(result for result in parity.run.stages.values() if result.name == stage)
    return shown_output(port, parity.run.store.read_json(found.outputs[port]), found.names)


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> ParityResult:
    compilation = compile_text(RECIPE, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    store = Store(tmp_path_factory.mktemp("together") / "store")
    return check_parity(compilation.workflow, store=store, base=Path(), jobs=1)


def test_the_backends_agree_on_every_stage(parity: ParityResult) -> None:
    assert {stage.name for stage in parity.stages} == {"gan", "byol", "dino", "semi", "drift", "drawn"}
    for stage in parity.stages:
        assert stage.agrees, stage.failure
        assert stage.detail.get("loss_difference", 0.0) <= 1e-5


def test_the_slow_copy_is_a_result_and_lags_behind(parity: ParityResult) -> None:
    assert 0 < output(parity, "drift", "value") < 1


def test_the_history_has_columns_by_the_names_of_players_and_terms(parity: ParityResult) -> None:
    players, terms = output(parity, "gan", "history"), output(parity, "semi", "history")

    assert {"discriminator.loss", "generator.loss"} <= players[0].keys()
    assert {"loss", "entropy", "spread"} <= terms[0].keys()
    # 30 rows with labels in batches of 16: six epochs are 12 steps
    assert terms[-1]["step"] == 12
    assert terms[-1]["epoch"] == pytest.approx(6.4)
    assert all(np.isfinite(row["loss"]) for row in terms)
