"""Tensor programs to readable Python source: what the three frameworks share. Nothing here imports a framework.

`etude.backends.<framework>.emit` has `emit_train(spec) -> Emitted` and `emit_rows(spec) -> Emitted` (a spec of kind
`map`, `measure`, `filter` or `top`; numpy has `emit_rows` only). `Emitted.source` is the text of a module,
`Emitted.slots` pairs each slot of the spec with the dotted paths of its weight below `models` (tied weights have
several pairs with one slot; the first is the one that counts).

A module for `train` defines, on PyTorch:

- `Models()`: an `nn.Module` with uninitialised weights; `models.get_parameter(path)` finds one.
- `loss(models, batch, key) -> (total, terms)`: `batch` holds columns by name, `key` is a Python int, `terms` holds
  scalars by name with the total among them as "loss".
- `optimizers(models)`: freezes what does not learn and returns what `step` takes as `optimizer`.
- `step(models, optimizer, batch, key, lr) -> terms`: one update with the learning rate `lr`; detached tensors.
- `evaluate(models, batch, key) -> terms`, where the spec has `valid`.
- `scores(models, batch, rows, key) -> {name: [b]}`, where `valid` has `scores`; `rows` are uint32 row ids (int32
  bits).

and on JAX, where weights are flat dicts of arrays by path (the fastest pytree to pass to a jitted function) and `key`
is a uint32:

- `build(*weights) -> Models`: an `nnx.Module` around weights that together are all, for use inside a trace.
- `loss(models, batch, key)`, `evaluate(models, batch, key)`, `scores(models, batch, rows, key)`: pure, not jitted.
- `optimizer(lr) -> optax.GradientTransformation`, and `init(params)`: the first `opt_state`.
- `step(params, rest, opt_state, data, index, key, lr) -> (params, opt_state, terms)`: jitted, donating `params` and
  `opt_state`; `params` are the weights that the spec updates, `rest` all others, `data` the resident columns.
  `step.__wrapped__` is the same, not jitted, for loops inside one compilation.

A spec with several `steps` (players) has, in the places of `optimizer`, `opt_state` and `lr`, tuples with an entry for
each; an entry of `lr` that is None leaves its player alone in this step, and the terms are named "0.loss", "1.loss",
and so on.

With scans over equal blocks a module on JAX has `STACKS` (`etude.backends.jax.blocks`): what its functions are given
by path is then held as the rows of that table say.

What only some specs have:

- several data sets (`inputs.on` is a record): columns are named "<stream>.<column>", and on JAX `index` is a dict by
  stream.
- losses that read "@step" (int32) or "@progress" (float32): `batch` holds them, on JAX `clock`, which stands after
  `index`.
- `state`: `initial_state(key)`; `loss` and `step` take the state, a dict by name, after `batch` (on JAX `step` after
  `opt_state`). PyTorch's `step` returns (terms, state), JAX's has it before the terms, and its `loss` returns
  (total, (terms, state)).
- `ema`: PyTorch's `step` moves the slow copies; on JAX they are the argument `slow`, after `params`, and come back
  after them.

A module for rows defines `rows(models, batch, rows, key) -> {name: [b, ...]}`; without weights (`spec["slots"] == []`)
`models` may be anything on PyTorch and JAX, and numpy has `rows(batch, rows, key)`. A single output is named "".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emitted:
    """The source of a module, and where each slot of the spec lives below its `models`: (slot, dotted path).

    `blocks` are the lengths of the runs of equal blocks that it computes by scans.
    """

    source: str
    slots: list[tuple[int, str]]
    blocks: Sequence[int] = ()
