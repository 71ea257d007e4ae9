"""A good hand-written JAX loop for the digits convnet and the small ViT: what generated code is held to.

One jitted step with donated parameters and optimizer state, batches gathered by index inside the step, and no loss
read inside the loop. `python benchmarks/handwritten_jax.py` prints milliseconds a step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import digits
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from numpy.typing import NDArray

Params = Any


def dense(key: Array, inputs: int, outputs: int) -> dict[str, Array]:
    return {"w": jax.nn.initializers.lecun_normal()(key, (inputs, outputs)), "b": jnp.zeros(outputs)}


def apply(layer: dict[str, Array], x: Array) -> Array:
    return x @ layer["w"] + layer["b"]


def convolve(layer: dict[str, Array], x: Array, stride: int = 1, padding: str = "SAME") -> Array:
    """A convolution over images (batch, height, width, channels)."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, layer["w"], (stride, stride), padding, None, None, dimensions) + layer["b"]


def init_convolution(key: Array, size: int, inputs: int, outputs: int) -> dict[str, Array]:
    return {"w": jax.nn.initializers.lecun_normal()(key, (size, size, inputs, outputs)), "b": jnp.zeros(outputs)}


def init_convnet(key: Array, widths: tuple[int, ...] = (32, 64), out: int = 64) -> Params:
    keys = jax.random.split(key, 4)
    return {
        "conv": [init_convolution(k, 3, i, o) for k, i, o in zip(keys, (1, *widths), widths, strict=False)],
        "dense": dense(keys[2], widths[-1] * (8 // 2 ** len(widths)) ** 2, out),
        "head": dense(keys[3], out, 10),
    }


def convnet(params: Params, x: Array) -> Array:
    for layer in params["conv"]:
        x = jax.nn.relu(convolve(layer, x))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return apply(params["head"], jax.nn.relu(apply(params["dense"], x.reshape(x.shape[0], -1))))


def init_vit(key: Array, depth: int = 4, dim: int = 64, patch: int = 2) -> Params:
    first, second, third, *keys = jax.random.split(key, 3 + depth)

    def norm() -> Params:
        return {"scale": jnp.ones(dim), "bias": jnp.zeros(dim)}

    def block(key: Array) -> Params:
        a, b, c, d = jax.random.split(key, 4)
        layers = {"qkv": dense(a, dim, 3 * dim), "out": dense(b, dim, dim)}
        layers |= {"up": dense(c, dim, 4 * dim), "down": dense(d, 4 * dim, dim)}
        return layers | {"norm1": norm(), "norm2": norm()}

    return {
        "patches": init_convolution(first, patch, 1, dim),
        "position": 0.02 * jax.random.normal(second, ((8 // patch) ** 2, dim)),
        "blocks": [block(k) for k in keys],
        "norm": norm(),
        "head": dense(third, dim, 10),
    }


def layer_norm(layer: dict[str, Array], x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * layer["scale"] + layer["bias"]


def attention(block: Params, x: Array, heads: int = 4) -> Array:
    batch, tokens, dim = x.shape
    q, k, v = jnp.moveaxis(apply(block["qkv"], x).reshape(batch, tokens, 3, heads, -1), 2, 0)
    scores = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) * (dim // heads) ** -0.5)
    return apply(block["out"], jnp.einsum("bhts,bshd->bthd", scores, v).reshape(batch, tokens, dim))


def vit(params: Params, x: Array) -> Array:
    tokens = convolve(params["patches"], x, stride=2, padding="VALID")
    x = tokens.reshape(x.shape[0], -1, tokens.shape[-1]) + params["position"]
    for block in params["blocks"]:
        x = x + attention(block, layer_norm(block["norm1"], x))
        hidden = jax.nn.gelu(apply(block["up"], layer_norm(block["norm2"], x)), approximate=False)
        x = x + apply(block["down"], hidden)
    return apply(params["head"], layer_norm(params["norm"], x).mean(1))


MODELS: dict[str, tuple[Callable[[Array], Params], Callable[[Params, Array], Array]]] = {
    "convnet": (init_convnet, convnet),
    "vit": (init_vit, vit),
}


def loop(name: str) -> Callable[[NDArray], Array]:
    """A function that trains on batches of indices (steps, batch) and returns the loss of every step."""
    init, forward = MODELS[name]
    images, labels = digits.load()
    x, y = jnp.asarray(images), jnp.asarray(labels)
    optimizer = optax.adamw(1e-3, weight_decay=0.01)
    params = init(jax.random.key(0))
    state = [params, optimizer.init(params)]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Params, opt_state: Any, x: Array, y: Array, index: Array) -> tuple[Params, Any, Array]:
        def loss(params: Params) -> Array:
            logits = forward(params, x[index])
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[index]).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    def run(indices: NDArray) -> Array:
        losses = []
        for index in indices.astype(np.int32):
            state[0], state[1], loss = step(state[0], state[1], x, y, index)
            losses.append(loss)
        return jnp.stack(losses).block_until_ready()

    return run


def main() -> None:
    for name in MODELS:
        for batch, steps in ((64, 100), (256, 40)):
            run, indices = loop(name), digits.batches(1797, batch, steps)
            run(indices)
            times = []
            for _ in range(5):
                start = time.perf_counter()
                losses = run(indices)
                times.append((time.perf_counter() - start) / steps * 1e3)
            print(f"jax   {name:8} batch {batch:3}: {statistics.median(times):7.3f} ms a step, loss {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
