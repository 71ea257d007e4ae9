"""Optimizers come to the weights that Optax comes to, on both backends, and to PyTorch's where these mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

optax = pytest.importorskip("optax")
torch = pytest.importorskip("torch")
Array = Any
STEPS = 12
rms = {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": False, "initial_scale": 0.0}
CASES: dict[str, tuple[str, Callable[[], Any], Callable[[Any], Any] | None]] = {
    "adamw": (
        "adamw(lr = 0.05, weight_decay = 0.1)",
        lambda: optax.adamw(0.05, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.1),
    ),
    "adam": ("adam(lr = 0.05)", lambda: optax.adam(0.05), lambda p: torch.optim.Adam(p, 0.05)),
    "momentum": (
        "sgd(lr = 0.05, momentum = 0.9, weight_decay = 0.01)",
        lambda: optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.05, momentum=0.9)),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        "sgd(lr = 0.05, momentum = 0.9, nesterov = true)",
        lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (
        "rmsprop(lr = 0.01, momentum = 0.9)",
        lambda: optax.rmsprop(0.01, momentum=0.9, **rms),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, eps=1e-8, momentum=0.9),
    ),
    "lion": ("lion(lr = 0.01, weight_decay = 0.1)", lambda: optax.lion(0.01, weight_decay=0.1), None),
    "lamb": ("lamb(lr = 0.01, weight_decay = 0.1)", lambda: optax.lamb(0.01, weight_decay=0.1), None),
    "lars": ("lars(lr = 0.5)", lambda: optax.lars(0.5), None),
    "adafactor": ("adafactor(lr = 0.01)", lambda: optax.adafactor(0.01), None),
}


@pytest.fixture(scope="module", params=["torch", "jax"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Array]]:
    """The weights after some steps of every optimizer, and those of before as `start`."""
    from safetensors.numpy import load_file

    base = tmp_path_factory.mktemp("optimizers")
    np.savez(base / "d.npz", x=X, y=Y)
    lines = ['d = load("d.npz")', "net = linear(3)"]
    for name, (code, *_) in {**CASES, "start": ("sgd(lr = 0.0)", None, None)}.items():
        lines.append(f"t_{name} = train(on = d, update = {{m: net}}) {{ loss = ({{x, y}}) => mse(net(x), y)")
        lines.append(f"  optimizer = {code} batch = 64 budget = {STEPS}steps }} m_{name} = t_{name}.m")
    workflow = compile_text("\n".join(lines), "optimizers.etude", base).workflow
    assert workflow is not None
    result = run(workflow, store=Store(base / "store"), backend=request.param, base=base, jobs=1)
    assert not result.failed
    return {name[2:]: load_file(model["path"]) for name, model in result.to_json()["models"].items()}


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_those_of_the_libraries(name: str, trained: dict[str, dict[str, Array]]) -> None:
    _, of_optax, of_torch = CASES[name]
    wanted = [with_optax(of_optax(), trained["start"])]
    wanted += [] if of_torch is None else [with_torch(of_torch, trained["start"])]
    for weights in wanted:
        for path, values in weights.items():
            assert np.abs(trained[name][path] - values).max() < 5e-5, path


def with_optax(optimizer: Any, start: dict[str, Array]) -> dict[str, Array]:
    import jax
    import jax.numpy as jnp

    params = {path: jnp.asarray(values) for path, values in start.items()}
    state = optimizer.init(params)
    slope = jax.jit(jax.grad(lambda p: jnp.mean((X @ p["net.w"] + p["net.b"] - Y) ** 2)))
    for _ in range(STEPS):
        updates, state = optimizer.update(slope(params), state, params)
        params = optax.apply_updates(params, updates)
    return {path: np.asarray(values) for path, values in params.items()}


def with_torch(make: Callable[[Any], Any], start: dict[str, Array]) -> dict[str, Array]:
    params = {path: torch.nn.Parameter(torch.tensor(values)) for path, values in start.items()}
    optimizer = make(params.values())
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((torch.tensor(X) @ params["net.w"] + params["net.b"] - torch.tensor(Y)) ** 2).mean().backward()
        optimizer.step()
    return {path: values.detach().numpy() for path, values in params.items()}


generator = np.random.default_rng(0)
X = generator.normal(size=(64, 5)).astype(np.float32)
Y = (X @ generator.normal(size=(5, 3))).astype(np.float32)
