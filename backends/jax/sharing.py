"""The emitted step on a mesh: compiled so that what it gives lies where what it takes does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import jax

from etude.backends.emission.programs import has_streams
from etude.backends.jax.places import Place, Places

Tree = Any


@dataclass(frozen=True)
class Layout:
    """The places of all leaves of a tree, as something that can be compared."""

    places: tuple[Place, ...]
    structure: Any

    @classmethod
    def of(cls, tree: Tree) -> Layout:
        """The layout of a tree of places."""
        leaves, structure = jax.tree.flatten(tree)
        return cls(tuple(leaves), structure)

    def tree(self) -> Tree:
        return jax.tree.unflatten(self.structure, self.places)


def donated(*, has_slow: bool, has_state: bool) -> list[int]:
    """The positions of what a step changes, which it may overwrite."""
    return [0, *([1] if has_slow else []), 2 + has_slow, *([3 + has_slow] if has_state else [])]


def shared_step(module: ModuleType, spec: Mapping[str, Any], places: Places, changed: Sequence[Tree]) -> Any:
    """`module.step` on a mesh; `changed` are the places of what it gives before its terms, in order.

    The positions of rows may be None: then the columns are those of the batch.
    """
    streams = tuple(spec["inputs"]["on"]) if has_streams(spec) else None
    layout = Layout.of((*changed, places.whole))
    return _compiled_step(module, places, layout, bool(spec.get("ema")), bool(spec.get("state")), streams)


@cache
def _compiled_step(
    module: ModuleType, places: Places, layout: Layout, has_slow: bool, has_state: bool, streams: tuple[str, ...] | None
) -> Any:
    body, index = places.within(module.step.__wrapped__), 4 + has_slow + has_state
    everything: Any = slice(None) if streams is None else dict.fromkeys(streams, slice(None))

    def step(*given: Any) -> Any:
        at = everything if given[index] is None else given[index]
        return body(*given[:index], at, *given[index + 1 :])

    positions = donated(has_slow=has_slow, has_state=has_state)
    return jax.jit(step, donate_argnums=positions, out_shardings=layout.tree())


def shared_init(module: ModuleType, places: Places) -> Callable[[Tree], Tree]:
    """`module.init` on a mesh: nowhere is all of what an optimizer keeps."""

    def init(params: Tree) -> Tree:
        shapes = jax.eval_shape(module.init, params)
        return jax.jit(module.init, out_shardings=places.of_weights(shapes))(params)

    return init
