"""The end of a training without names: weights by slot, states by place, so that one whose models are called otherwise
can go on from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etude.backends.base import Array

STATE, OPTIMIZER = "state.", "optimizer."
WEIGHT = re.compile(r"(\d+) (\S+)( learned by .+)?")  # how a layout tells a slot and its path
KEY = re.compile(r"\['([^']*)'\]")


class OtherRunError(Exception):
    """The training to go on from has other weights, or another optimizer; the message has the first difference."""


@dataclass(frozen=True)
class Places:
    """What a session's `layout` says without the names in it: `entries` in an order that no name decides.

    `states` are the names of what is carried, in order; `leaves` has the place of each part of optimizers that a
    framework orders by the paths of weights.
    """

    entries: tuple[str, ...]
    states: tuple[str, ...]
    leaves: tuple[int, ...]

    @classmethod
    def of(cls, layout: Sequence[str]) -> Places:
        slots = {found[2]: found[1] for entry in layout if (found := WEIGHT.fullmatch(entry))}
        weights, learned, states, leaves = list[str](), list[str](), list[str](), list[str]()
        for entry in layout:
            if found := WEIGHT.fullmatch(entry):
                (learned if found[3] else weights).append(f"weight {found[1]}{found[3] or ''}")
            elif entry.isidentifier():
                states.append(entry)
            elif entry.startswith("weight "):
                (learned if " learned " in entry else weights).append(entry)
            elif entry.startswith("state "):
                states.append(entry.removeprefix("state "))
            else:
                leaves.append(KEY.sub(lambda key: f"[{slots.get(key[1], key[1])}]", entry))
        order = sorted(range(len(leaves)), key=leaves.__getitem__)
        carried = [f"state {place}" for place in range(len(states))]
        places = tuple(order.index(ordinal) for ordinal in range(len(leaves)))
        entries = (*sorted(weights), *carried, *learned, *(leaves[ordinal] for ordinal in order))
        return cls(entries, tuple(states), places)

    def stored(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """What `Session.state` gave, by place."""
        return {self._names.get(name, name): value for name, value in state.items()}

    def restored(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """The way back."""
        names = {place: name for name, place in self._names.items()}
        return {names.get(name, name): value for name, value in state.items()}

    @property
    def _names(self) -> dict[str, str]:
        states = {f"{STATE}{name}": f"{STATE}{place}" for place, name in enumerate(self.states)}
        leaves = {f"{OPTIMIZER}{ordinal}": f"{OPTIMIZER}{place}" for ordinal, place in enumerate(self.leaves)}
        return states | leaves


def check_places(before: Places, now: Places) -> None:
    """Raise `OtherRunError` where what `state` gave belongs to other weights."""
    for old, new in zip(before.entries, now.entries, strict=False):
        if old != new:
            raise OtherRunError(f"the training to go on from has {old} where this one has {new}")
    if len(before.entries) != len(now.entries):
        counts = f"{len(before.entries)} weights and parts of optimizers, this one has {len(now.entries)}"
        raise OtherRunError(f"the training to go on from has {counts}")
