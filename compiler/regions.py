"""`each`: a function of one element, applied to every element of the first axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etude.backends.program.explicit import updates
from etude.backends.program.ir import Operand, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.derivatives import Cut
from etude.compiler.diagnostics import Location
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, operand_of, tensor
from etude.compiler.values import Closure, Record, Tensor, Tree, describe
from etude.grammar import nodes


def each(session: Session, xs: Any, function: Any, location: Location, evaluator: Any) -> Any:
    """What a function makes of each element of the first axis of a tensor, or of a record of tensors, stacked."""
    frame = session.frame
    assert frame is not None
    given = dict(_leaves("", xs, location))
    sizes = {dim for value in given.values() for dim in value.type.shape[:1]}
    if len(sizes) != 1 or not all(value.type.rank for value in given.values()):
        shown = ", ".join(str(value.type) for value in given.values())
        raise faults.wrong_value(f"'each' takes tensors with one first axis, got {shown}", location)
    (size,) = sizes
    elements = {path: _placeholder(frame, value, path, function) for path, value in given.items()}
    before = len(frame.builder.ops)
    argument = _formed(xs, iter(tensor(frame, element, location) for element in elements.values()))
    result = evaluator.call(function, [argument], {}, location)
    outputs = [(path, operand_of(frame, value, location, "'each'")) for path, value in _parts("", result, location)]
    cut = Cut(session, frame, list(elements.values()), location, "each")
    cut.follow([value for _, value in outputs])
    if any(cut.draws(op) for op in frame.builder.ops[before:]):
        raise faults.not_available("a draw for each element, inside 'each'", location)
    if any(op.name == "call" and updates(cut.child(op).sub) for op in cut.ops):
        raise faults.not_available("a model with running statistics in training, inside 'each'", location)
    sub = cut.function(outputs)
    _take_back(frame, cut, before, elements)
    place = add_child(frame, _free_name(frame), sub, cut.origins())
    operands: list[Operand] = [operand_of(frame, value, location, "'each'") for value in given.values()]
    mapped = (*[True] * len(operands), *[False] * len(cut.captured))
    types = [TensorType(value.type.dtype, (size, *value.type.shape)) for _, value in sub.outputs]
    made = frame.builder.append("each", [*operands, *cut.captured], {"child": place, "mapped": (mapped,)}, types)
    return _formed(result, iter(tensor(frame, value, location) for value in made))


def _placeholder(frame: Frame, value: Tensor, path: str, function: Any) -> Value:
    """A value that stands for one element while the function is traced."""
    kind = TensorType(value.type.dtype, value.type.shape[1:])
    (element,) = frame.builder.append("placeholder", (), {}, (kind,))
    pattern = function.parameters[0] if isinstance(function, Closure) and function.parameters else None
    frame.builder.names[element.id] = path or (pattern.name if isinstance(pattern, nodes.NamePattern) else "element")
    return element


def _take_back(frame: Frame, cut: Cut, before: int, elements: Mapping[str, Value]) -> None:
    """Remove from the outer function what is now part of the inner one."""
    gone = {element.id for element in elements.values()} | cut.depends
    kept = frame.builder.ops[: before - len(elements)]
    for op in frame.builder.ops[before:]:
        if not any(result.id in gone for result in op.results):
            kept.append(op)
    frame.builder.ops[:] = kept


def _leaves(path: str, value: Any, location: Location) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Record) and value:
        for name, item in value.items():
            yield from _leaves(f"{path}_{name}" if path else name, item, location)
    elif isinstance(value, Tensor) and isinstance(value.operand, Value):
        yield path, value
    else:
        raise faults.wrong_kind("'xs' of 'each'", "a tensor, or a record of tensors", describe(value), location)


def _parts(path: str, value: Any, location: Location) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Record):
        for name, item in value.items():
            yield from _parts(f"{path}.{name}" if path else name, item, location)
    elif isinstance(value, Tree):
        yield from (
            (f"{path}.{name}" if path else name, leaf) for name, leaf in zip(value.paths, value.leaves, strict=True)
        )
    elif isinstance(value, Tensor | bool | int | float):
        yield path, value
    else:
        raise faults.wrong_kind("the result of the function given to 'each'", "tensors", describe(value), location)


def _formed(like: Any, values: Iterator[Tensor]) -> Any:
    if isinstance(like, Record):
        return Record({name: _formed(item, values) for name, item in like.items()})
    if isinstance(like, Tree):
        return Tree(like.paths, tuple(next(values) for _ in like.leaves))
    return next(values)


def _free_name(frame: Frame) -> str:
    taken = {child.name for child in frame.builder.children}
    names: Sequence[str] = ["each", *(f"each_{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
