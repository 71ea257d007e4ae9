"""`each` and `scan`: a function of one element, applied to all of the first axis, at once or one after the other.

Loops (`loops.py`) and choices (`choices.py`) share with them how a function is cut out of the program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from etude.backends.program.inner import all_selected
from etude.backends.program.ir import Sub, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults, weight_faults
from etude.compiler.cuts import Cut, Holds
from etude.compiler.diagnostics import Location
from etude.compiler.models import add_child
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, Region, made_tensor, operand_of, tensor
from etude.compiler.trees import write
from etude.compiler.values import AnyOrigin, Closure, Made, Record, Tensor, Tree, describe
from etude.grammar import nodes


def each(session: Session, xs: Any, function: Any, location: Location, evaluator: Any) -> Any:
    """What a function makes of each element of the first axis of a tensor, or of a record of tensors, stacked."""
    frame = session.frame
    assert frame is not None
    given = dict(leaves("", xs, location))
    sizes = {dim for value in given.values() for dim in value.type.shape[:1]}
    if len(sizes) != 1 or not all(value.type.rank for value in given.values()):
        shown = ", ".join(str(value.type) for value in given.values())
        raise faults.wrong_value(f"'each' takes tensors with one first axis, got {shown}", location)
    (size,) = sizes
    with traced_region(session, "each", location) as region:
        elements = [
            region.placeholder(_element(value), path or parameter_name(function, 0), source_of(value))
            for path, value in given.items()
        ]
        argument = formed(xs, iter(tensor(frame, element, location) for element in elements))
        result = evaluator.call(function, [argument], {}, location)
        sub, place = region.cut(list(parts("", result, "'each'", location)))
    operands = [operand_of(frame, value, location, "'each'") for value in given.values()]
    mapped = (*[True] * len(operands), *[False] * len(region.captured))
    types = [TensorType(value.type.dtype, (size, *value.type.shape)) for _, value in sub.outputs]
    attributes = {"child": place, "mapped": (mapped,), **_site(frame, sub)}
    made = frame.builder.append("each", [*operands, *region.captured], attributes, types)
    return formed(result, iter(tensor(frame, value, location) for value in made))


def scan(session: Session, xs: Any, start: Any, function: Any, location: Location, evaluator: Any) -> Record:
    """What a function makes of a state and one element after the other: the last state, and all outputs stacked."""
    frame = session.frame
    assert frame is not None
    given = dict(leaves("", xs, location))
    sizes = {dim for value in given.values() for dim in value.type.shape[:1]}
    if len(sizes) != 1 or not all(value.type.rank for value in given.values()):
        shown = ", ".join(str(value.type) for value in given.values())
        raise faults.wrong_value(f"'scan' takes tensors with one first axis, got {shown}", location)
    first = [(path, made_of(session, value, location)) for path, value in parts("", start, "'from'", location)]
    with traced_region(session, "scan", location) as region:
        states = [region.placeholder(value.type, path or parameter_name(function, 0), None) for path, value in first]
        elements = [
            region.placeholder(_element(value), path or parameter_name(function, 1), source_of(value))
            for path, value in given.items()
        ]
        arguments = [
            formed(form, iter(tensor(frame, value, location) for value in values))
            for form, values in ((start, states), (xs, elements))
        ]
        result = evaluator.call(function, arguments, {}, location)
        following, outs = _next_and_outs(session, result, start, first, location)
        named = [(f"next.{path}", value) for path, value in following] + [
            (f"out.{path}", value) for path, value in outs
        ]
        sub, place = region.cut(named, states=len(states), elements=len(elements))
    states += region.running
    operands = [operand_of(frame, value, location, "'scan'") for _, value in first] + [*region.running]
    operands += [operand_of(frame, value, location, "'scan'") for value in given.values()]
    types = [value.type for _, value in first] + [value.type for value in region.running]
    types += [TensorType(value.type.dtype, (*sizes, *value.type.shape)) for _, value in outs]
    attributes = {"child": place, "states": len(states), "elements": len(elements), "mapped": (), **_site(frame, sub)}
    made = list(frame.builder.append("scan", [*operands, *region.captured], attributes, types))
    region.put_back(made[len(first) : len(states)])
    values = (tensor(frame, value, location) for value in (*made[: len(first)], *made[len(states) :]))
    return Record({"last": formed(start, values), "outs": formed(result["out"], values)})


Named = list[tuple[str, Tensor]]


def _next_and_outs(session: Session, result: Any, start: Any, first: Named, location: Location) -> tuple[Named, Named]:
    """What the function of a `scan` gives: a state like the first one, and outputs."""
    if not isinstance(result, Record) or set(result) != {"next", "out"}:
        got = f"a record {{{', '.join(result)}}}" if isinstance(result, Record) else describe(result)
        raise faults.wrong_kind("the function given to 'scan'", "a record {next, out}", got, location)
    following = [
        (path, made_of(session, value, location)) for path, value in parts("", result["next"], "next", location)
    ]
    for (path, old), (other, new) in zip(first, following, strict=False):
        if path != other or old.type != new.type:
            what = f"the state '{path}'" if path else "the state"
            raise faults.wrong_kind(f"{what} of 'scan' keeps its type", str(old.type), str(new.type), location)
    if len(first) != len(following):
        raise faults.wrong_kind(
            "the state of 'scan' keeps its form", describe(start), describe(result["next"]), location
        )
    outs = [(path, made_of(session, value, location)) for path, value in parts("", result["out"], "out", location)]
    return following, outs


def _element(value: Tensor) -> TensorType:
    return TensorType(value.type.dtype, value.type.shape[1:])


def made_of(session: Session, value: Any, location: Location) -> Tensor:
    """A value as a tensor with an operation behind it."""
    found = value if isinstance(value, Tensor) else made_tensor(session, value, location)
    return found if isinstance(found.operand, Value) else made_tensor(session, found.operand.value, location)


@contextmanager
def traced_region(session: Session, name: str, location: Location, holds: Holds = "draws") -> Iterator[TracedRegion]:
    """The operations from here on, until they are cut out as a function of some placeholders."""
    frame = session.frame
    assert frame is not None
    region = TracedRegion(session, frame, Region(name, len(frame.builder.ops), {}, location), holds)
    frame.regions.append(region.open)
    try:
        yield region
    finally:
        frame.regions.pop()


class TracedRegion:
    """A function that is traced in place; `captured` is what it reads beside its placeholders.

    Statistics of batches that models move inside of it, unless it is of elements side by side, are states of it:
    `running` are their values before.
    """

    def __init__(self, session: Session, frame: Frame, region: Region, holds: Holds) -> None:
        self.session, self.frame, self.open, self.holds = session, frame, region, holds
        self.placeholders: list[Value] = []
        self.captured: list[Value] = []
        self.moving: list[AnyOrigin] = []
        self.running: list[Value] = []

    def placeholder(self, kind: TensorType, name: str, source: Value | None) -> Value:
        """A value that stands for a state, or for one element of `source`, while the function is traced."""
        (value,) = self.frame.builder.append("placeholder", (), {}, (kind,))
        self.frame.builder.names[value.id] = name.replace(".", "_")
        self.placeholders.append(value)
        self.open.sources[value] = source
        return value

    def cut(
        self, values: Sequence[tuple[str, Any]], *, states: int | None = None, elements: int = 0
    ) -> tuple[Sub, int]:
        """The function that makes these values as a child of the outer one, and its place.

        Of the placeholders the last `elements` are no states, of the values the first `states`, or all, are the next
        ones: the statistics that are carried stand after them.
        """
        frame, location, name = self.frame, self.open.location, self.open.name
        outputs = [(path, operand_of(frame, value, location, f"'{name}'")) for path, value in values]
        cut = Cut(self.session, frame, self.placeholders, location, name)
        cut.inside(self.open.before, self.holds, threads=name != "each")
        cut.follow([value for _, value in outputs])
        self._check(cut)
        sub = _with_running_between(cut.function(outputs), len(self.placeholders), elements, len(cut.moving), states)
        called = {"loop": "body", "choose": "branch"}.get(name, name)
        sub = replace(all_selected(sub) if name == "each" else sub, name=called)
        gone = {value.id for value in self.placeholders} | cut.depends
        put = {id(op) for op in (*cut.ops, *cut.dependent(self.open.before)) if op.name == "write"}
        frame.builder.ops[:] = [
            op for op in frame.builder.ops if id(op) not in put and not any(result.id in gone for result in op.results)
        ]
        self.captured, self.moving, self.running = cut.captured, list(cut.moving), list(cut.moving.values())
        frame.builder.is_random |= sub.is_random
        return sub, add_child(frame, _free_name(frame, called), sub, cut.origins())

    def _check(self, cut: Cut) -> None:
        name, location = self.open.name, self.open.location
        # while it is being found what learns, each model with weights is as in training
        is_known = self.session.live is not None
        if name == "each" and is_known and any(map(cut.moves, cut.dependent(self.open.before))):
            raise weight_faults.statistics_of_elements(location)

    def put_back(self, values: Sequence[Value]) -> None:
        """Let the statistics that were carried be what the last round made of them."""
        for origin, value in zip(self.moving, values, strict=True):
            write(self.frame, origin, value)


def _with_running_between(sub: Sub, placeholders: int, elements: int, count: int, states: int | None) -> Sub:
    """A function with its `count` running statistics, which stand after the placeholders and the outputs, as states."""
    inputs, outputs, first = sub.inputs, sub.outputs, placeholders - elements
    running = inputs[placeholders : placeholders + count]
    inputs = (*inputs[:first], *running, *inputs[first:placeholders], *inputs[placeholders + count :])
    own, moved = outputs[: len(outputs) - count], outputs[len(outputs) - count :]
    return replace(sub, inputs=inputs, outputs=(*own[:states], *moved, *(own[states:] if states is not None else ())))


def _site(frame: Frame, sub: Sub) -> dict[str, int]:
    """The site of an operation whose function draws."""
    return {"site": frame.builder.next_site()} if sub.is_random else {}


def source_of(value: Tensor) -> Value | None:
    return value.operand if isinstance(value.operand, Value) else None


def parameter_name(function: Any, index: int) -> str:
    """What a function calls one of its parameters."""
    patterns = function.parameters if isinstance(function, Closure) else ()
    pattern = patterns[index] if index < len(patterns) else None
    return pattern.name if isinstance(pattern, nodes.NamePattern) else "element"


def leaves(path: str, value: Any, location: Location) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Record) and value:
        for name, item in value.items():
            yield from leaves(f"{path}_{name}" if path else name, item, location)
    elif isinstance(value, Tensor) and isinstance(value.operand, Value):
        yield path, value
    else:
        raise faults.wrong_kind("'xs'", "a tensor, or a record of tensors", describe(value), location)


def parts(path: str, value: Any, what: str, location: Location) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Record):
        for name, item in value.items():
            yield from parts(f"{path}.{name}" if path else name, item, what, location)
    elif isinstance(value, Tree):
        yield from (
            (f"{path}.{name}" if path else name, leaf) for name, leaf in zip(value.paths, value.leaves, strict=True)
        )
    elif isinstance(value, Tensor | Made | bool | int | float):
        yield path, value
    else:
        raise faults.wrong_kind(what, "a tensor, or a record of tensors", describe(value), location)


def formed(like: Any, values: Iterator[Tensor]) -> Any:
    if isinstance(like, Record):
        return Record({name: formed(item, values) for name, item in like.items()})
    if isinstance(like, Tree):
        return Tree(like.paths, tuple(next(values) for _ in like.leaves))
    return next(values)


def _free_name(frame: Frame, name: str) -> str:
    taken = {child.name for child in frame.builder.children}
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
