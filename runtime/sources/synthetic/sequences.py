"""Sequences of tokens to rewrite, or to tell apart.

Tokens 0 to vocab - 1 are uniform; a row has `shortest` to `length` of them, uniformly, then zeros, which `mask`
leaves out. `copy`, `reverse` and `sort` are what they say; `sum` gives at each place the sum of all tokens so far,
modulo vocab; `rewrite` replaces each token by a permutation of the vocabulary that is drawn from the seed, and swaps
neighbours: places 0 and 1, 2 and 3, and so on. `markov` has no output but a label: which of `classes` chains, each a
table of transitions drawn from the seed, has made the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

    from etude.backends.numpy.random import Key

    Ints = np.ndarray[Any, np.dtype[np.int32]]

SEMANTICS = 1
OPTIONS: Mapping[str, Option] = {
    "task": Option("copy", "what is done", choices=("copy", "reverse", "sort", "sum", "rewrite", "markov")),
    "vocab": Option(16, "the number of tokens", low=2, high=65_536),
    "length": Option(12, "the places of a row", low=2, high=100_000),
    "shortest": Option(4, "the least number of tokens of a row", low=1),
    "classes": Option(2, "the number of chains of the task markov", low=2, high=1000),
    "noise": Option(1.0, "of the task markov: 0 gives equal chains of one successor each, larger is closer to uniform"),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`ids` and the target `output`, int32 [length], or `ids` and `label`; and `mask`, bool [length]."""
    shape = (options["length"],)
    ids, mask = ColumnSchema("ids", "tensor", "int32", shape), ColumnSchema("mask", "tensor", "bool", shape)
    if options["task"] == "markov":
        return (ids, mask, ColumnSchema("label", "label", "int32", (), options["classes"]))
    return (ids, mask, ColumnSchema("output", "tensor", "int32", shape, is_target=True))


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, randint

    length, vocab = options["length"], options["vocab"]
    counts = randint(fold(fold(key, 0), numbers), min(options["shortest"], length), length, ())
    mask = np.arange(length) < counts[:, np.newaxis]
    draws = fold(fold(key, 1), numbers)
    if options["task"] == "markov":
        label = randint(fold(fold(key, 2), numbers), 0, options["classes"] - 1, ())
        return {"ids": np.where(mask, _walk(options, key, draws, label), 0), "mask": mask, "label": label}
    ids = np.where(mask, randint(draws, 0, vocab - 1, (length,)), 0)
    return {"ids": ids, "mask": mask, "output": np.where(mask, _output(options, key, ids, counts), 0)}


def _output(options: Mapping[str, Any], key: int, ids: Ints, counts: Ints) -> Any:
    """What the task makes of each row; past its end anything."""
    import numpy as np

    from etude.backends.numpy.random import fold, permutation

    vocab, places, ends = options["vocab"], np.arange(ids.shape[1]), counts[:, np.newaxis]
    match options["task"]:
        case "reverse":
            return np.take_along_axis(ids, np.maximum(ends - 1 - places, 0), axis=1)
        case "sort":
            return np.sort(np.where(places < ends, ids, vocab), axis=1).astype(np.int32)
        case "sum":
            return (np.cumsum(ids, axis=1) % vocab).astype(np.int32)
        case "rewrite":
            partner = places + np.where(places % 2 == 0, 1, -1)
            swapped = np.take_along_axis(ids, np.where(partner < ends, partner, places), axis=1)
            table = permutation(fold(key, 3), vocab)
            return table[swapped]
    return ids


def _walk(options: Mapping[str, Any], key: int, draws: Key, label: Ints) -> Ints:
    """Tokens of a Markov chain for each row: the next is the argmax of a table's row and Gumbel noise."""
    import numpy as np

    from etude.backends.numpy.random import fold, gumbel, normal, randint

    vocab = options["vocab"]
    tables = 3 * normal(fold(key, 4), (options["classes"], vocab, vocab))
    ids = np.empty((len(label), options["length"]), np.int32)
    ids[:, 0] = randint(draws, 0, vocab - 1, ())
    for place in range(1, options["length"]):
        noise = np.float32(options["noise"]) * gumbel(fold(draws, place), (vocab,))
        ids[:, place] = np.argmax(tables[label, ids[:, place - 1]] + noise, axis=1)
    return ids
