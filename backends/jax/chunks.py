"""Several steps of a training as one program of JAX: a scan over the emitted step, and whether it is worth it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from etude.backends.jax.devices import compiled_folder
from etude.backends.jax.places import Places
from etude.backends.jax.sharing import Layout

Tree = Any
CONVOLUTIONS = frozenset({"conv", "conv_transpose"})


@cache
def compiled_chunk(
    module: ModuleType, has_slow: bool, has_state: bool, places: Places, layout: Layout | None
) -> Callable[..., tuple[Tree, Tree]]:
    """`module.step` over the leading axis of its positions, clocks, keys and learning rates, compiled once.

    `carried` is what goes from step to step: weights, slow copies, the optimizer's state, and the state of the loss.
    `layout` has the places of all that comes out, on a mesh.
    """
    body = places.within(module.step.__wrapped__)

    @partial(jax.jit, donate_argnums=0, out_shardings=None if layout is None else layout.tree())
    def chunk(carried: Tree, rest: Tree, data: Tree, steps: Sequence[Tree]) -> tuple[Tree, Tree]:
        def one(carried: Tree, step: Sequence[Tree]) -> tuple[Tree, Tree]:
            params, slow, opt_state, state = carried
            params, *changed, terms = body(
                params, *([slow] if has_slow else []), rest, opt_state, *([state] if has_state else []), data, *step
            )
            slow = changed.pop(0) if has_slow else slow
            opt_state = changed.pop(0)
            return (params, slow, opt_state, changed.pop(0) if has_state else state), terms

        return jax.lax.scan(one, carried, steps)

    return chunk


def has_convolution(spec: Any) -> bool:
    """Whether a loss of the stage convolves: inside a scan that takes thirty times as long on a processor."""
    programs = [step["loss"] for step in spec["steps"]]
    return any(name in CONVOLUTIONS for program in programs for sub in program["subs"] for name, *_ in sub["ops"])


def is_faster(facts: Sequence[Any], measure: Callable[[], bool]) -> bool:
    """What was found when these facts were measured before on such a processor, or is found now."""
    found = recalled("chunk", facts).get("is_faster")
    if found is None:
        found = measure()
        remember("chunk", facts, {"is_faster": found})
    return bool(found)


def recalled(kind: str, facts: Sequence[Any]) -> dict[str, Any]:
    """What was measured of these facts with this version of JAX on such a processor, or nothing."""
    try:
        found = json.loads(_path(kind, facts).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(kind: str, facts: Sequence[Any]) -> Path:
    digest = hashlib.sha256(json.dumps([jax.__version__, *facts]).encode()).hexdigest()
    return compiled_folder() / f"{kind}-{digest[:32]}.json"


def remember(kind: str, facts: Sequence[Any], value: dict[str, Any]) -> None:
    """Keep what was measured beside the compiled code."""
    path = _path(kind, facts)
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(json.dumps(value))
        os.replace(file.name, path)
    except OSError:  # without a folder to write to, each run measures
        return


def copied(tree: Tree) -> Tree:
    """A copy that may be donated."""
    return jax.tree.map(lambda leaf: leaf.copy(), tree)


def are_equal(first: Tree, second: Tree) -> bool:
    """Whether two trees hold the same bits."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def seconds(run: Callable[[], Tree]) -> tuple[float, Tree]:
    """How long something takes until it is there, and what it is."""
    start = time.perf_counter()
    made = jax.block_until_ready(run())
    return time.perf_counter() - start, made
