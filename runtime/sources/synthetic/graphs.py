"""Graphs of four families: random (Erdos and Renyi), scale-free (Barabasi and Albert), small-world, and communities.

Each has about two bonds a node: `random` bonds every pair with the same chance; `scale_free` adds nodes one by one,
each bonded to two earlier ones with chances in proportion to their bonds; `small_world` is a ring, where each node is
bonded to the next two and one bond in ten leads elsewhere; `communities` bonds the pairs of one half with five times
the chance of pairs across. With `planted` set, the label is instead whether a clique of four nodes was added, in half
of all graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
FAMILIES = ("random", "scale_free", "small_world", "communities")
OPTIONS: Mapping[str, Option] = {
    "nodes": Option(16, "the largest number of nodes", low=8, high=10_000),
    "smallest": Option(10, "the least number of nodes", low=6),
    "label": Option("family", "what is to be told", choices=("family", "planted")),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`degree` int32 [nodes], `bonds` float32 [nodes, nodes], `mask` bool [nodes] and `label`, equally likely."""
    nodes, names = options["nodes"], FAMILIES if options["label"] == "family" else ("plain", "planted")
    return (
        ColumnSchema("degree", "tensor", "int32", (nodes,)),
        ColumnSchema("bonds", "tensor", "float32", (nodes, nodes)),
        ColumnSchema("mask", "tensor", "bool", (nodes,)),
        ColumnSchema("label", "label", "int32", (), len(names), names),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, randint, uniform

    nodes = options["nodes"]
    keys = [fold(fold(key, site), numbers) for site in range(5)]
    family = randint(keys[0], 0, 3, ())
    size = randint(keys[1], min(options["smallest"], nodes), nodes, ())
    mask = np.arange(nodes) < size[:, np.newaxis]
    drawn = uniform(keys[2], (nodes, nodes))
    made = [_random(drawn, size), _scale_free(drawn, nodes), _small_world(drawn, size), _communities(drawn, size)]
    bonds = np.choose(family[:, np.newaxis, np.newaxis], made)
    label = family
    if options["label"] == "planted":
        label = randint(keys[3], 0, 1, ())
        chosen = np.argsort(np.argsort(np.where(mask, uniform(keys[4], (nodes,)), 2), axis=1), axis=1) < 4
        bonds = bonds | ((label == 1)[:, np.newaxis, np.newaxis] & chosen[:, :, np.newaxis] & chosen[:, np.newaxis])
    bonds = bonds & mask[:, :, np.newaxis] & mask[:, np.newaxis] & ~np.eye(nodes, dtype=bool)
    bonds = bonds | bonds.transpose(0, 2, 1)
    degree = bonds.sum(axis=2).astype(np.int32)
    return {"degree": degree, "bonds": bonds.astype(np.float32), "mask": mask, "label": label}


def _random(drawn: Any, size: Any) -> Any:
    """Every pair with the chance that gives two bonds a node."""
    import numpy as np

    return np.triu(drawn < (4 / (size - 1)).astype(np.float32)[:, np.newaxis, np.newaxis])


def _scale_free(drawn: Any, nodes: int) -> Any:
    """Each node picks two of those before it: the largest two of log(u) / bonds, a draw in proportion to the bonds."""
    import numpy as np

    bonds = np.zeros(drawn.shape, bool)
    bonds[:, 0, 1] = bonds[:, 1, 0] = True
    for node in range(2, nodes):
        weight = bonds[:, :node, :].sum(axis=2)
        score = np.log(np.maximum(drawn[:, node, :node], np.float32(2**-25))) / weight
        chosen = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1, kind="stable") < 2
        bonds[:, node, :node] = bonds[:, :node, node] = chosen
    return bonds


def _small_world(drawn: Any, size: Any) -> Any:
    """A ring with bonds to the next two; where a draw says so, a bond goes to a node that another draw names."""
    import numpy as np

    nodes = drawn.shape[1]
    bonds = np.zeros(drawn.shape, bool)
    every, place = np.arange(len(drawn))[:, np.newaxis], np.arange(nodes)
    for step in (1, 2):
        elsewhere = (drawn[:, :, step + 2] * size[:, np.newaxis]).astype(np.int32)
        target = np.where(drawn[:, :, step] < np.float32(0.1), elsewhere, (place + step) % size[:, np.newaxis])
        bonds[every, place, target] = True
    return bonds


def _communities(drawn: Any, size: Any) -> Any:
    """Two halves, with chances within and across that give two bonds a node."""
    import numpy as np

    half = np.arange(drawn.shape[1]) < (size // 2)[:, np.newaxis]
    is_within = half[:, :, np.newaxis] == half[:, np.newaxis]
    across = (4 / (3 * size - 5)).astype(np.float32)[:, np.newaxis, np.newaxis]
    return np.triu(drawn < np.where(is_within, 5 * across, across))
