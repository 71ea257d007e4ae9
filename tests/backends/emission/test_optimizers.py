"""The same optimizer, spelled for both frameworks, makes the same steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.emission.optimizers import settings
from etude.backends.program.dims import b

OPTIMIZERS = [
    {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-6},
    {"name": "adam", "lr": 1e-2, "betas": [0.9, 0.999], "eps": 1e-8},
    {"name": "adam", "lr": 1e-2, "weight_decay": 0.1},
    {"name": "sgd", "lr": 1e-2},
    {"name": "sgd", "lr": 1e-2, "momentum": 0.9, "weight_decay": 0.1},
    {"name": "sgd", "lr": 1e-2, "momentum": 0.9, "nesterov": True},
    {"name": "rmsprop", "lr": 1e-2, "decay": 0.8, "eps": 1e-3},
    {"name": "rmsprop", "lr": 1e-2, "momentum": 0.5, "weight_decay": 0.1},
    {"name": "lion", "lr": 1e-2},
    {"name": "lion", "lr": 1e-2, "betas": [0.8, 0.95], "weight_decay": 0.1},
    {"name": "lamb", "lr": 1e-2, "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-5},
    {"name": "lars", "lr": 1.0, "momentum": 0.8, "weight_decay": 0.1, "trust": 0.01},
    {"name": "adafactor", "lr": 1e-1},
    {"name": "adafactor", "lr": 1e-1, "decay": 0.7, "min_size": 8},
]


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_both_frameworks_take_the_same_steps_under_a_schedule(optimizer: Any, clip: float | None, kit: Any) -> None:
    spec = kit.classifier({"mlp": kit.mlp(8, [12, 10])}, 8, valid=False, optimizer=optimizer, clip=clip)
    torch, jax = kit.both(spec)
    batch = kit.images(16, 8)
    start = {slot: weight.copy() for slot, weight in torch.weights().items()}
    optimizers = torch.module.optimizers(torch.models)
    state = jax.module.init(jax.params)
    data = {name: jax.jax.numpy.array(column) for name, column in batch.items()}

    for step in range(6):
        lr = 1e-2 * (1 - step / 8)
        torch.module.step(torch.models, optimizers, torch.tensors(batch), step, lr)
        jax.params, state, _ = jax.module.step(
            jax.params, jax.rest, state, data, np.arange(16, dtype=np.int32), np.uint32(step), np.float32(lr)
        )

    for slot, weight in torch.weights().items():
        assert np.abs(weight - start[slot]).max() > 1e-4
        np.testing.assert_allclose(weight, jax.weights()[slot], atol=1e-5)


GROUPS = [
    [{"slots": [2, 3], "lr": 5e-2}],
    [{"slots": [0], "lr": 5e-2, "weight_decay": 0.5}, {"slots": [1, 2, 3], "weight_decay": 0.0}],
]


@pytest.mark.parametrize("groups", GROUPS, ids=["some", "all"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:1] + OPTIMIZERS[4:5] + OPTIMIZERS[9:11], ids=str)
def test_both_frameworks_give_groups_of_weights_their_own_settings(optimizer: Any, groups: Any, kit: Any) -> None:
    layers = {"mlp": kit.mlp(8, [12, 10])}
    plain = kit.classifier(layers, 8, valid=False, optimizer=optimizer, clip=0.5)
    grouped = kit.classifier(layers, 8, valid=False, optimizer=optimizer | {"groups": groups}, clip=0.5)
    torch, jax = kit.both(grouped)
    alone, _ = kit.both(plain)
    batch = kit.images(16, 8)

    for lr in (1e-2, 5e-3, 1e-3):
        for steps in (torch.steps, jax.steps, alone.steps):
            steps(batch, 2, lr)

    for slot, weight in torch.weights().items():
        np.testing.assert_allclose(weight, jax.weights()[slot], atol=1e-5)
        of_group = next((group for group in groups if slot in group["slots"]), None)
        if of_group is not None and len(groups) == 1:
            assert np.abs(weight - alone.weights()[slot]).max() > 1e-3


def test_a_setting_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="'sgd' does not read betas"):
        settings({"name": "sgd", "lr": 0.1, "betas": [0.9, 0.999]})
    with pytest.raises(ValueError, match="no optimizer is called 'adagrad'"):
        settings({"name": "adagrad", "lr": 0.1})


def adversaries(kit: Any) -> Any:
    """Two players: one moves its points away from the other's, the other follows."""
    slots = kit.Slots()
    maker, judge = kit.mlp(4, [6, 3]), kit.linear(4, 3)
    modules = slots.module(maker, "maker"), slots.module(judge, "judge")
    specs = []
    for sign in (-1.0, 1.0):
        loss = kit.Model("loss")
        x = loss.input("x", kit.floats(b, 4))
        noisy = loss.do("add", x, loss.do("mul", loss.do("normal", shape=(b, 4)), kit.literal(0.1)))
        gap = loss.do("sub", loss.run("maker", maker, noisy), loss.run("judge", judge, x))
        distance = loss.do("mean", loss.do("square", gap), axis=None)
        specs.append(kit.train_spec(loss.done(loss.do("mul", distance, kit.literal(sign))), modules, slots, clip=1.0))
    first, second = (spec["steps"][0] for spec in specs)
    steps = [first | {"update": [0, 1, 2, 3]}, second | {"update": [4, 5], "optimizer": {"name": "sgd", "lr": 0.1}}]
    return specs[0] | {"steps": steps}


def test_players_take_turns_and_rest_without_a_learning_rate(kit: Any) -> None:
    torch, jax = kit.both(adversaries(kit))
    batch = {"x": np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)}
    start = {slot: weight.copy() for slot, weight in torch.weights().items()}

    for lr in ((1e-2, None), (1e-2, 1e-1), (None, 1e-1)):
        pairs = zip(torch.steps(batch, 1, lr), jax.steps(batch, 1, lr), strict=True)
        for torch_terms, jax_terms in pairs:
            assert torch_terms == pytest.approx(jax_terms, abs=1e-5)
            assert set(torch_terms) == {f"{i}.loss" for i, rate in enumerate(lr) if rate is not None}

    for slot, weight in torch.weights().items():
        assert (weight != start[slot]).any()
        np.testing.assert_allclose(weight, jax.weights()[slot], atol=1e-5)
