"""`grad`: the part of the program that leads from some values to a number, as a function that is differentiated."""

from __future__ import annotations

from collections.abc import Sequence

from etude.backends.program.ir import Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.cuts import Cut
from etude.compiler.diagnostics import Location
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Region, tensor
from etude.compiler.values import Tensor

# Weights are the same value wherever they are read.
SHARED = frozenset({"read", "weight", "key"})
KEY = TensorType("uint32")


def derivatives(
    session: Session, value: Tensor, by: Sequence[Tensor], location: Location, *, what: str
) -> list[Tensor]:
    """The total derivatives of a number by tensors of the same function. `what` is how the recipe calls the latter."""
    frame = session.frame
    assert frame is not None and isinstance(value.operand, Value)
    cut = Cut(session, frame, [_value(tensor) for tensor in by], location)
    cut.follow([value.operand])
    for region in frame.regions:
        if _goes_around(frame, region, value.operand, cut.by):
            raise faults.earlier_rounds(region.name, what, location, value.location)
    if value.operand.id not in cut.depends:
        raise faults.independent(what, location, value.location)
    place = add_child(frame, _name(frame, value), cut.function([("", value.operand)], _keys(frame, cut)), cut.origins())
    attributes = {"child": place, "count": len(by), "mapped": ()}
    frame.builder.is_random |= cut.is_random
    results = frame.builder.append("grad", [*cut.by, *cut.captured], attributes, [v.type for v in cut.by])
    if len(results) > 1:
        for result, source in zip(results, cut.by, strict=True):
            frame.builder.names.setdefault(result.id, f"{cut.called(source)}_slope")
    return [tensor(frame, result, location) for result in results]


def _keys(frame: Frame, cut: Cut) -> list[tuple[int, Value]]:
    """Where what was cut comes to stand in a further function of rounds or elements, which has a key of its own: the
    number of operations before, and the key of the function around, if any of them draws."""
    ends, draws = [], []
    for level, region in enumerate(frame.regions):
        outside = {id(op) for op in frame.builder.ops[: region.before]}
        ends.append(sum(id(op) in outside for op in cut.ops))
        draws.append(any(map(cut.draws, cut.ops[ends[level - 1] if level else 0 : ends[level]])))
    found = []
    for level, (end, is_random) in enumerate(zip(ends, draws, strict=True)):
        if is_random:
            found.append((end, _key_outside(frame, level)))
    return found


def _key_outside(frame: Frame, level: int) -> Value:
    """The key of the function around a function of rounds or elements, read just before that."""
    region, ops = frame.regions[level], frame.builder.ops
    if region.key is None:
        (region.key,) = frame.builder.append("key", (), {}, (KEY,))
        ops.insert(region.before, ops.pop())
        for inner in frame.regions[level:]:
            inner.before += 1
    return region.key


def _value(tensor: Tensor) -> Value:
    assert isinstance(tensor.operand, Value)
    return tensor.operand


def _name(frame: Frame, value: Tensor) -> str:
    assert isinstance(value.operand, Value)
    wanted = frame.builder.names.get(value.operand.id, "value")
    taken = {child.name for child in frame.builder.children}
    return next(n for n in (wanted, *(f"{wanted}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def _goes_around(frame: Frame, region: Region, value: Value, by: Sequence[Value]) -> bool:
    """Whether a derivative by something outside of a function of rounds or elements would leave out a way to it.

    The value reads a state, which the rounds before made, or an element of something that was computed from `by`.
    """
    own = {op.results[0].id for op in frame.builder.ops[region.before :] if op.results and op.name not in SHARED}
    outside = [each for each in by if each.id not in own]
    if not outside:
        return False
    behind = _behind(frame, [value])
    return any(
        placeholder.id in behind and (source is None or not _behind(frame, [source]).isdisjoint(o.id for o in outside))
        for placeholder, source in region.sources.items()
    )


def _behind(frame: Frame, values: Sequence[Value]) -> set[int]:
    """All values that some values were computed from, but for those behind a `stop`."""
    found = {value.id for value in values}
    for op in reversed(frame.builder.ops):
        if op.name != "stop" and any(result.id in found for result in op.results):
            found |= {operand.id for operand in op.operands if isinstance(operand, Value)}
    return found
