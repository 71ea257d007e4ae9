"""`each` and `scan`: a function of one element, applied to all of the first axis, at once or one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from etude.backends.program.explicit import updates
from etude.backends.program.ir import Sub, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.derivatives import Cut
from etude.compiler.diagnostics import Location
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, made_tensor, operand_of, tensor
from etude.compiler.values import Closure, Made, Record, Tensor, Tree, describe
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
    elements = [_placeholder(frame, _element(value), path or _parameter(function, 0)) for path, value in given.items()]
    argument = _formed(xs, iter(tensor(frame, element, location) for element in elements))
    region = _Region(session, frame, "each", elements, location)
    result = evaluator.call(function, [argument], {}, location)
    sub, place = region.cut(list(_parts("", result, "'each'", location)))
    operands = [operand_of(frame, value, location, "'each'") for value in given.values()]
    mapped = (*[True] * len(operands), *[False] * len(region.captured))
    types = [TensorType(value.type.dtype, (size, *value.type.shape)) for _, value in sub.outputs]
    made = frame.builder.append("each", [*operands, *region.captured], {"child": place, "mapped": (mapped,)}, types)
    return _formed(result, iter(tensor(frame, value, location) for value in made))


def scan(session: Session, xs: Any, start: Any, function: Any, location: Location, evaluator: Any) -> Record:
    """What a function makes of a state and one element after the other: the last state, and all outputs stacked."""
    frame = session.frame
    assert frame is not None
    given = dict(_leaves("", xs, location))
    sizes = {dim for value in given.values() for dim in value.type.shape[:1]}
    if len(sizes) != 1 or not all(value.type.rank for value in given.values()):
        shown = ", ".join(str(value.type) for value in given.values())
        raise faults.wrong_value(f"'scan' takes tensors with one first axis, got {shown}", location)
    first = [(path, _made(session, value, location)) for path, value in _parts("", start, "'from'", location)]
    states = [_placeholder(frame, value.type, path or _parameter(function, 0)) for path, value in first]
    elements = [_placeholder(frame, _element(value), path or _parameter(function, 1)) for path, value in given.items()]
    arguments = [
        _formed(form, iter(tensor(frame, value, location) for value in values))
        for form, values in ((start, states), (xs, elements))
    ]
    region = _Region(session, frame, "scan", [*states, *elements], location)
    result = evaluator.call(function, arguments, {}, location)
    if not isinstance(result, Record) or set(result) != {"next", "out"}:
        raise faults.wrong_kind("the function given to 'scan'", "a record {next, out}", describe(result), location)
    following = [
        (path, _made(session, value, location)) for path, value in _parts("", result["next"], "next", location)
    ]
    for (path, old), (other, new) in zip(first, following, strict=False):
        if path != other or old.type != new.type:
            what = f"the state '{path}'" if path else "the state"
            raise faults.wrong_kind(f"{what} of 'scan' keeps its type", str(old.type), str(new.type), location)
    if len(first) != len(following):
        raise faults.wrong_kind(
            "the state of 'scan' keeps its form", describe(start), describe(result["next"]), location
        )
    outs = [(path, _made(session, value, location)) for path, value in _parts("", result["out"], "out", location)]
    named = [(f"next.{path}", value) for path, value in following] + [(f"out.{path}", value) for path, value in outs]
    _, place = region.cut(named)
    operands = [operand_of(frame, value, location, "'scan'") for value in (*(v for _, v in first), *given.values())]
    types = [value.type for _, value in first]
    types += [TensorType(value.type.dtype, (*sizes, *value.type.shape)) for _, value in outs]
    attributes = {"child": place, "states": len(states), "elements": len(elements), "mapped": ()}
    made = iter(frame.builder.append("scan", [*operands, *region.captured], attributes, types))
    values = (tensor(frame, value, location) for value in made)
    return Record({"last": _formed(start, values), "outs": _formed(result["out"], values)})


def _element(value: Tensor) -> TensorType:
    return TensorType(value.type.dtype, value.type.shape[1:])


def _made(session: Session, value: Any, location: Location) -> Tensor:
    """A value as a tensor with an operation behind it."""
    found = value if isinstance(value, Tensor) else made_tensor(session, value, location)
    return found if isinstance(found.operand, Value) else made_tensor(session, found.operand.value, location)


class _Region:
    """The operations from here on, until they are cut out as a function of some placeholders."""

    def __init__(
        self, session: Session, frame: Frame, name: str, placeholders: Sequence[Value], location: Location
    ) -> None:
        self.session, self.frame, self.name, self.location = session, frame, name, location
        self.placeholders, self.before = list(placeholders), len(frame.builder.ops)
        self.captured: list[Value] = []

    def cut(self, values: Sequence[tuple[str, Any]]) -> tuple[Sub, int]:
        """The function that makes these values as a child of the outer one, and its place."""
        frame, location = self.frame, self.location
        outputs = [(path, operand_of(frame, value, location, f"'{self.name}'")) for path, value in values]
        cut = Cut(self.session, frame, self.placeholders, location, self.name)
        cut.follow([value for _, value in outputs])
        if any(cut.draws(op) for op in frame.builder.ops[self.before :]):
            raise faults.not_available(f"a draw for each element, inside '{self.name}'", location)
        if any(op.name == "call" and updates(cut.child(op).sub) for op in cut.ops):
            raise faults.not_available(f"a model with running statistics in training, inside '{self.name}'", location)
        sub = cut.function(outputs)
        gone = {value.id for value in self.placeholders} | cut.depends
        frame.builder.ops[:] = [op for op in frame.builder.ops if not any(result.id in gone for result in op.results)]
        self.captured = cut.captured
        return sub, add_child(frame, _free_name(frame, self.name), sub, cut.origins())


def _placeholder(frame: Frame, kind: TensorType, name: str) -> Value:
    """A value that stands for one element, or for a state, while a function is traced."""
    (value,) = frame.builder.append("placeholder", (), {}, (kind,))
    frame.builder.names[value.id] = name.replace(".", "_")
    return value


def _parameter(function: Any, index: int) -> str:
    """What a function calls one of its parameters."""
    patterns = function.parameters if isinstance(function, Closure) else ()
    pattern = patterns[index] if index < len(patterns) else None
    return pattern.name if isinstance(pattern, nodes.NamePattern) else "element"


def _leaves(path: str, value: Any, location: Location) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Record) and value:
        for name, item in value.items():
            yield from _leaves(f"{path}_{name}" if path else name, item, location)
    elif isinstance(value, Tensor) and isinstance(value.operand, Value):
        yield path, value
    else:
        raise faults.wrong_kind("'xs'", "a tensor, or a record of tensors", describe(value), location)


def _parts(path: str, value: Any, what: str, location: Location) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Record):
        for name, item in value.items():
            yield from _parts(f"{path}.{name}" if path else name, item, what, location)
    elif isinstance(value, Tree):
        yield from (
            (f"{path}.{name}" if path else name, leaf) for name, leaf in zip(value.paths, value.leaves, strict=True)
        )
    elif isinstance(value, Tensor | Made | bool | int | float):
        yield path, value
    else:
        raise faults.wrong_kind(what, "a tensor, or a record of tensors", describe(value), location)


def _formed(like: Any, values: Iterator[Tensor]) -> Any:
    if isinstance(like, Record):
        return Record({name: _formed(item, values) for name, item in like.items()})
    if isinstance(like, Tree):
        return Tree(like.paths, tuple(next(values) for _ in like.leaves))
    return next(values)


def _free_name(frame: Frame, name: str) -> str:
    taken = {child.name for child in frame.builder.children}
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
