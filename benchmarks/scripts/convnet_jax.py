"""The digits convnet by hand on JAX, as well as one would write it: what a whole cold process is held to."""

import os
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from sklearn.datasets import load_digits

THREADS, BATCH, EPOCHS = int(sys.argv[1]), 64, 20
OPTIMIZER = optax.adamw(1e-3, weight_decay=0.01)


def init(key: Array) -> dict[str, Array]:
    shapes = {"conv1": (3, 3, 1, 32), "conv2": (3, 3, 32, 64), "dense": (256, 64), "head": (64, 10)}
    keys = jax.random.split(key, len(shapes))
    weights = {n: jax.nn.initializers.he_normal()(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}
    return weights | {f"{name}_bias": jnp.zeros(shape[-1]) for name, shape in shapes.items()}


def net(params: dict[str, Array], x: Array) -> Array:
    for name in ("conv1", "conv2"):
        x = lax.conv_general_dilated(x, params[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + params[f"{name}_bias"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(x.reshape(len(x), -1) @ params["dense"] + params["dense_bias"])
    return x @ params["head"] + params["head_bias"]


@partial(jax.jit, donate_argnums=(0, 1))
def step(params: Any, state: Any, images: Array, labels: Array, index: Array) -> tuple[Any, Any, Array]:
    def loss_of(params: Any) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(net(params, images[index]), labels[index]).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, state = OPTIMIZER.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


@jax.jit
def first(key: Array) -> tuple[Any, Any]:
    params = init(key)
    return params, OPTIMIZER.init(params)


def main() -> None:
    os.environ["NPROC"] = str(THREADS)  # how many processors XLA uses
    jax.config.update("jax_platforms", "cpu")
    data, generator = load_digits(), np.random.default_rng(0)
    order = generator.permutation(len(data.target))
    images = jnp.array((data.images[order, :, :, None] / 16).astype(np.float32))
    labels = jnp.array(data.target[order].astype(np.int32))
    split = round(0.8 * len(labels))
    params, state = first(jax.random.key(0))
    steps = -(-EPOCHS * split // BATCH)
    stream = np.concatenate([generator.permutation(split) for _ in range(EPOCHS + 1)]).astype(np.int32)
    for number in range(steps):
        params, state, loss = step(params, state, images, labels, stream[number * BATCH : (number + 1) * BATCH])
    right = jax.jit(lambda params: (net(params, images[split:]).argmax(1) == labels[split:]).mean())(params)
    print(f"{steps} steps, loss {float(loss):.4f}, accuracy {float(right):.4f}")


main()
