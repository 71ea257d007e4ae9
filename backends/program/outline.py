"""Take a run of operations out of a function that is being built, as a function of its own that is given a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from etude.backends.program.builder import Builder
from etude.backends.program.dims import Size
from etude.backends.program.ir import Child, Op, Operand, Sub, Value, callees, recalled


def outline(build: Builder, start: int, stop: int, key: Operand, outputs: Sequence[Operand]) -> None:
    """Put the operations from `start` to `stop` into a child that draws with `key`, and one `apply` in their place.

    `outputs` are what the function that is being built gives.
    """
    run, later = build.ops[start:stop], build.ops[stop:]
    made = {value.id: value for op in run for value in op.results}
    read = {value.id: value for op in run for value in _values(op.operands) if value.id not in made}
    if any(map(_mentions, run)) and not any(_is_sized(value) for value in read.values()):
        sized = next(value for _, value in build.inputs if _is_sized(value))
        read[sized.id] = sized
    wanted = {value.id for op in later for value in _values(op.operands)} | {value.id for value in _values(outputs)}
    given = [value for id, value in made.items() if id in wanted]
    places = dict.fromkeys(place for op in run for place in callees(op))
    order = {place: number for number, place in enumerate(places)}
    inner = Sub(
        name=f"{build.name}_outside",
        inputs=tuple((build.names.get(value.id, "x"), value) for value in read.values()),
        slots=(),
        children=tuple(build.children[place] for place in places),
        ops=tuple(recalled(op, order.__getitem__) for op in run),
        outputs=tuple((str(number), value) for number, value in enumerate(given)),
        is_random=True,
        names={id: name for id, name in build.names.items() if id in made or id in read},
    )
    build.children.append(Child(inner.name, inner))
    attributes = (("child", len(build.children) - 1), ("given", True))
    build.ops[start:stop] = [Op("apply", (*read.values(), key), attributes, tuple(given))]


def _values(operands: Sequence[Operand]) -> Iterator[Value]:
    return (operand for operand in operands if isinstance(operand, Value))


def _is_sized(value: Value) -> bool:
    return any(isinstance(dim, Size) for dim in value.type.shape)


def _mentions(item: Any) -> bool:
    """Whether an operation, or an attribute of one, says how large the batch is."""
    if isinstance(item, Op):
        return any(_mentions(value) for _, value in item.attributes)
    return isinstance(item, Size) or (isinstance(item, tuple) and any(map(_mentions, item)))
