"""Molecules of 9 to 12 atoms of 8 kinds, whose class is how atoms are bonded and not which there are.

A molecule is a backbone, a tree of 3 to 6 atoms of random kinds, each on one of the three before it, with two groups.
A group is a chain of three atoms that hangs on an atom of the backbone; the kinds of its atoms are one of six
triples, two different ones in a molecule. In class 1, `straight`, they stand as written, in class 0, `crossed`, the
first two of them have changed places. So both classes have the same atoms, and a few labelled molecules do not show
all groups; but what stands between which atoms can be learned without labels.
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
NODES = 12
KINDS = 8
LONGEST_BACKBONE = 6
TRIPLES = ((0, 1, 2), (3, 4, 5), (6, 7, 0), (1, 3, 6), (2, 5, 7), (4, 6, 1))
OPTIONS: Mapping[str, Option] = {
    "noise": Option(0.0, "the share of groups that stand as in the other class", high=1),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`atom` int32 [12] (0 where none is), `bonds` float32 [12, 12], `mask` bool [12] and `label`, equally likely."""
    return (
        ColumnSchema("atom", "tensor", "int32", (NODES,)),
        ColumnSchema("bonds", "tensor", "float32", (NODES, NODES)),
        ColumnSchema("mask", "tensor", "bool", (NODES,)),
        ColumnSchema("label", "label", "int32", (), 2, ("crossed", "straight")),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import bernoulli, fold, permutation, randint

    keys = [fold(fold(key, site), numbers) for site in range(7)]
    label = randint(keys[0], 0, 1, ())
    size = randint(keys[1], 3, LONGEST_BACKBONE, ())
    mask = np.arange(NODES) < size[:, np.newaxis] + 6
    bonds = np.zeros((len(numbers), NODES, NODES), np.float32)
    nearest = randint(keys[2], 1, 3, (LONGEST_BACKBONE,))
    for node in range(1, LONGEST_BACKBONE):
        _bond(bonds, node, np.maximum(node - nearest[:, node], 0), node < size)
    atom = randint(keys[3], 0, KINDS - 1, (NODES,))
    triples = np.array(TRIPLES)[permutation(keys[4], len(TRIPLES))[:, :2]]
    bearers = (randint(keys[5], 0, 2**20, (2,)) % size[:, np.newaxis]).astype(np.int32)
    is_straight = (label[:, np.newaxis] == 1) ^ bernoulli(keys[6], np.float32(options["noise"]), (2,))
    for group in range(2):
        _add_group(atom, bonds, size + 3 * group, bearers[:, group], triples[:, group], is_straight[:, group])
    return {"atom": np.where(mask, atom, 0).astype(np.int32), "bonds": bonds, "mask": mask, "label": label}


def _add_group(atom: Any, bonds: Any, start: Any, bearer: Any, triple: Any, is_straight: Any) -> None:
    """Write the three atoms from `start` on, and their bonds; `triple` is [rows, 3], the others [rows]."""
    import numpy as np

    every = np.arange(len(atom))
    kinds = np.where(is_straight[:, np.newaxis], triple, triple[:, [1, 0, 2]])
    before = bearer
    for place in range(3):
        atom[every, start + place] = kinds[:, place]
        _bond(bonds, start + place, before, np.True_)
        before = start + place


def _bond(bonds: Any, first: Any, second: Any, where: Any) -> None:
    """Bond two atoms of each row for which `where` is true."""
    import numpy as np

    rows = np.arange(len(bonds))
    first, second, where = (np.broadcast_to(each, rows.shape) for each in (first, second, where))
    bonds[rows[where], first[where], second[where]] = 1
    bonds[rows[where], second[where], first[where]] = 1
