"""What a session carries from step to step is all that it needs to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Rows
from etude.backends.batches import Stream
from etude.backends.inputs import TrainInputs
from etude.backends.modules import load_source
from etude.backends.timetable import Clock
from etude.backends.training import Session

Spec = dict[str, Any]
Open = Callable[[], Session]


def open_torch(spec: Spec, data: Rows, valid: Rows) -> Session:
    from etude.backends.torch import devices
    from etude.backends.torch.emit import emit_train
    from etude.backends.torch.train import TorchSession

    emitted = emit_train(spec)
    inputs = TrainInputs.of(spec, data[0], valid, {})
    return TorchSession(load_source(emitted.source), emitted.slots, inputs, devices.prepare("cpu", 1))


def open_jax(spec: Spec, data: Rows, valid: Rows) -> Session:
    from etude.backends.jax import devices
    from etude.backends.jax.emit import emit_train
    from etude.backends.jax.places import Places
    from etude.backends.jax.train import JaxSession

    emitted = emit_train(spec)
    inputs = TrainInputs.of(spec, data[0], valid, {})
    return JaxSession(load_source(emitted.source), emitted.slots, inputs, Places(devices.prepare("cpu", 1)))


@pytest.fixture(params=[open_torch, open_jax])
def open_session(request: pytest.FixtureRequest, train_spec: Callable[..., Spec], data: Rows, valid: Rows) -> Open:
    return lambda: request.param(train_spec(dropout=0.2), data, valid)


def test_a_run_that_is_taken_up_from_its_state_is_bit_identical(open_session: Open, data: Rows) -> None:
    stream = Stream(data[1], 32, 0)
    whole, half, rest = open_session(), open_session(), open_session()

    for step in range(8):
        whole.step(stream.indices(step), step, [0.01], Clock(step, step / 8))
    for step in range(4):
        half.step(stream.indices(step), step, [0.01], Clock(step, step / 8))
    rest.restore(half.state())
    for step in range(4, 8):
        rest.step(stream.indices(step), step, [0.01], Clock(step, step / 8))

    assert whole.losses()[4:] == rest.losses()
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, rest.state()[name])


def test_losses_are_given_once(open_session: Open, data: Rows) -> None:
    session = open_session()
    session.step(Stream(data[1], 32, 0).indices(0), 0, [0.01], Clock(0, 0.0))

    assert len(session.losses()) == 1
    assert session.losses() == []


def test_copies_of_weights_do_not_change_with_later_steps(open_session: Open, data: Rows) -> None:
    session = open_session()
    before = session.weights()
    kept = [weight.copy() for weight in before]

    session.step(Stream(data[1], 32, 0).indices(0), 0, [0.01], Clock(0, 0.0))

    for a, b, c in zip(before, kept, session.weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_equal_sources_share_one_module(tmp_path: Path) -> None:
    first = load_source("x = object()\n", tmp_path / "a" / "step.py")

    assert load_source("x = object()\n", tmp_path / "b" / "step.py") is first
    assert load_source("x = object()  # another\n") is not first
    assert (tmp_path / "b" / "step.py").read_text() == "x = object()\n"
