"""Pair slow copies with the weights that they follow: whole modules where they match, single weights where not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etude.backends.emission.models import ModelsPlan, Place, learning, running_slots

NUMBER = re.compile(r"\.(\d+)")


@dataclass(frozen=True, slots=True)
class Following:
    """`slow` moves by a share of `1 - decay` towards `followed`; both are modules of one class, or both weights."""

    slow: Place
    followed: Place
    decay: float
    is_module: bool
    has_running: bool = False


def followings(plan: ModelsPlan, ema: Sequence[tuple[int, int, float]]) -> list[Following]:
    """Pairs that cover every (slot, followed slot, decay) once."""
    follows = {slot: (followed, decay) for slot, followed, decay in ema}
    paths = dict(reversed(plan.slots))  # of tied weights the first path counts
    found: list[Following] = []
    for place in learning(plan, set(follows)):
        slots = [slot for slot, path in paths.items() if path == place.path or path.startswith(f"{place.path}.")]
        slots = [slot for slot in slots if slot in follows]
        whole = _as_module(plan, place, slots, paths, follows)
        found += [whole] if whole else _as_weights(slots, paths, follows)
    return found


def _as_module(
    plan: ModelsPlan, place: Place, slots: list[int], paths: dict[int, str], follows: dict[int, tuple[int, float]]
) -> Following | None:
    """The pair of two modules, if each weight of one stands where the other has the one that it follows."""
    modules = {known.path: (use[0], known, use) for use, known in plan.places.items()}
    if place.path not in modules or not slots:
        return None
    suffix = paths[slots[0]].removeprefix(place.path)
    followed, decay = follows[slots[0]]
    other = modules.get(paths[followed].removesuffix(suffix))
    if other is None or other[0] is not modules[place.path][0]:
        return None
    for slot in slots:
        there = other[1].path + paths[slot].removeprefix(place.path)
        if (paths[follows[slot][0]], follows[slot][1]) != (there, decay):
            return None
    return Following(place, other[1], decay, is_module=True, has_running=bool(running_slots(*modules[place.path][2])))


def _as_weights(slots: list[int], paths: dict[int, str], follows: dict[int, tuple[int, float]]) -> Iterator[Following]:
    for slot in slots:
        followed, decay = follows[slot]
        yield Following(_weight(paths[slot]), _weight(paths[followed]), decay, is_module=False)


def _weight(path: str) -> Place:
    """A weight by its dotted path, which has `.0` where Python has `[0]`."""
    return Place(NUMBER.sub(r"[\1]", path), path)
