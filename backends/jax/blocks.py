"""Equal blocks as one scan over their weights, and weights of equal blocks that are held as one array.

A table of stacks has rows (list of modules, first block, the one behind the last, names of weights in a block); the
array of a row's name is called "<list>.<first>:<behind>.<name>", [blocks, ...].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from etude.backends.emission.stacks import Row, parts_of

Tree: TypeAlias = Any


def over_blocks(
    function: Callable[[Array, Any, Array], Array], x: Array, blocks: Sequence[nnx.Module], site: int = 0
) -> Array:
    """The function on `x` and each block, one after the other; `site` is where the first one draws.

    Blocks whose weights are tied in different ways are no scan.
    """
    graphs, states = zip(*(nnx.split(block) for block in blocks), strict=True)
    sites = jnp.arange(site, site + len(blocks), dtype=jnp.uint32)
    if any(graph != graphs[0] for graph in graphs):
        for number, block in enumerate(blocks):
            x = function(x, block, sites[number])
        return x

    def one(x: Array, given: tuple[Array, Tree]) -> tuple[Array, None]:
        place, state = given
        return function(x, nnx.merge(graphs[0], state), place), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return lax.scan(one, x, (sites, stacked))[0]


def separate(weights: Mapping[str, Array], stacks: Sequence[Row]) -> dict[str, Array]:
    """Weights by their paths. XLA sees that what is taken apart here is put together again for a scan."""
    found = dict(weights)
    for name, paths in parts_of(stacks):
        if name in found:
            stack = found.pop(name)
            parts = lax.split(stack, (1,) * len(paths))
            found |= {path: part.reshape(stack.shape[1:]) for path, part in zip(paths, parts, strict=True)}
    return found


def together(weights: Mapping[str, Any], stacks: Sequence[Row]) -> dict[str, Any]:
    """Weights by their paths, on the host, with those of equal blocks as one array each."""
    found = dict(weights)
    for name, paths in parts_of(stacks):
        if paths[0] in found:
            parts = [found.pop(path) for path in paths]
            found[name] = np.stack(parts) if isinstance(parts[0], np.ndarray | Array) else parts[0]
    return found


def apart(weights: Mapping[str, Any], stacks: Sequence[Row]) -> dict[str, Any]:
    """What `together` was given; anything but an array stands for all parts."""
    found = dict(weights)
    for name, paths in parts_of(stacks):
        if name in found:
            stack = found.pop(name)
            parts = np.asarray(stack) if isinstance(stack, np.ndarray | Array) else [stack] * len(paths)
            found |= dict(zip(paths, parts, strict=True))
    return found


def over_weights(change: Callable[[Mapping[str, Any]], dict[str, Any]], tree: Tree) -> Tree:
    """A tree of an optimizer, with a change of each dict in it that has weights by name."""

    def changed(node: Any) -> Any:
        return change(node) if _is_weights(node) else node

    return jax.tree.map(changed, tree, is_leaf=_is_weights)


def _is_weights(node: Any) -> bool:
    """Whether a node has something for each weight, rather than for each group of weights."""
    return isinstance(node, dict) and any("." in name for name in node)
