"""A small GPT by hand on JAX, as well as one would write it: what a whole cold process is held to."""

import os
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

THREADS, BATCH, STEPS, DIM, HEADS, DEPTH = int(sys.argv[1]), 16, 60, 128, 4, 4
OPTIMIZER = optax.adamw(1e-3, weight_decay=0.01)
DENSE = {"qkv": (DIM, 3 * DIM), "out": (DIM, DIM), "up": (DIM, 4 * DIM), "down": (4 * DIM, DIM)}


@partial(jax.jit, static_argnums=1)
def first(key: Array, length: int) -> tuple[Any, Any]:
    """The first weights and the first state of the optimizer."""
    keys = iter(jax.random.split(key, 3 + DEPTH * len(DENSE)))

    def dense(shape: tuple[int, int]) -> Any:
        return {"w": jax.nn.initializers.lecun_normal()(next(keys), shape), "b": jnp.zeros(shape[1])}

    def norm() -> Any:
        return {"scale": jnp.ones(DIM), "shift": jnp.zeros(DIM)}

    params = {
        "table": 0.02 * jax.random.normal(next(keys), (256, DIM)),
        "position": 0.02 * jax.random.normal(next(keys), (length, DIM)),
        "blocks": [{**{n: dense(s) for n, s in DENSE.items()}, "1": norm(), "2": norm()} for _ in range(DEPTH)],
        "norm": norm(),
        "head": dense((DIM, 256)),
    }
    return params, OPTIMIZER.init(params)


def dense(layer: Any, x: Array) -> Array:
    return x @ layer["w"] + layer["b"]


def norm(layer: Any, x: Array) -> Array:
    return jax.nn.standardize(x, epsilon=1e-5) * layer["scale"] + layer["shift"]


def block(layers: Any, x: Array) -> Array:
    batch, length, _ = x.shape
    q, k, v = jnp.moveaxis(dense(layers["qkv"], norm(layers["1"], x)).reshape(batch, length, 3, HEADS, -1), 2, 0)
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
    x = x + dense(layers["out"], mixed)
    return x + dense(layers["down"], jax.nn.gelu(dense(layers["up"], norm(layers["2"], x)), approximate=False))


def net(params: Any, ids: Array) -> Array:
    x = params["table"][ids] + params["position"]
    for layers in params["blocks"]:
        x = block(layers, x)
    return dense(params["head"], norm(params["norm"], x))


@partial(jax.jit, donate_argnums=(0, 1))
def step(params: Any, state: Any, text: Array, index: Array) -> tuple[Any, Any, Array]:
    def loss_of(params: Any) -> Array:
        logits = net(params, text[index, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, text[index, 1:]).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, state = OPTIMIZER.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


def main() -> None:
    os.environ["NPROC"] = str(THREADS)  # how many processors XLA uses
    jax.config.update("jax_platforms", "cpu")
    text, generator = jnp.array(np.load("text.npz")["ids"]), np.random.default_rng(0)
    params, state = first(jax.random.key(0), text.shape[1] - 1)
    epochs = -(-STEPS * BATCH // len(text))
    stream = np.concatenate([generator.permutation(len(text)) for _ in range(epochs)]).astype(np.int32)
    for number in range(STEPS):
        params, state, loss = step(params, state, text, stream[number * BATCH : (number + 1) * BATCH])
    print(f"{STEPS} steps, loss {float(loss):.4f}")


main()
