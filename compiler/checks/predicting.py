"""Which measured values a function of rows predicts with, and which ones its results are only expressed in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

Json = Any


class Behind(Struct, frozen=True):
    """What a value of a program was computed from: measured values, columns of inputs, columns of targets."""

    values: frozenset[int] = frozenset()
    inputs: bool = False
    targets: bool = False


def predicting(spec: Mapping[str, Json], values: Collection[int], targets: Collection[str]) -> set[int]:
    """Those of the measured `values`, inputs of a stage, that its program brings together with what it computes from
    inputs alone: a threshold, a prototype, a correction. A scale that only meets errors is none of them."""
    sub, modules = spec["program"]["subs"][-1], spec["program"]["modules"]
    known = {value: Behind(inputs=name not in targets, targets=name in targets) for name, value, _ in sub["inputs"]}
    found: set[int] = set()
    for name, operands, attributes, results in sub["ops"]:
        sides = [known.get(operand, Behind()) for operand in operands if isinstance(operand, int)]
        if name == "read":
            sides.append(Behind(frozenset(_held(spec, modules, dict(attributes)) & set(values))))
        for index, side in enumerate(sides):
            others = (*sides[:index], *sides[index + 1 :])
            if side.values and not side.targets and any(other.inputs and not other.targets for other in others):
                found |= side.values
        known.update((value, _joined(sides)) for value, _ in results)
    return found


def _joined(sides: list[Behind]) -> Behind:
    values = frozenset[int]().union(*(side.values for side in sides))
    return Behind(values, any(side.inputs for side in sides), any(side.targets for side in sides))


def _held(spec: Mapping[str, Json], modules: Json, attributes: Mapping[str, Json]) -> set[int]:
    """The input of the stage that a `read` takes its numbers from."""
    slot = list(_slots(modules[attributes["child"]]))[attributes["slot"]]
    source = spec["slots"][slot]["source"]
    return {source["input"]} if "input" in source else set()


def _slots(module: Json) -> Iterator[int]:
    own, children = module
    yield from own
    for child in children:
        yield from _slots(child)
