"""`choose(i, [f, g])(x)`: one of several functions, picked by a number while the program runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.ir import Sub, Value
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.diagnostics import Location
from etude.compiler.regions import formed, leaves, made_of, parts, source_of, traced_region
from etude.compiler.session import Session
from etude.compiler.tracing import Frame, operand_of, tensor
from etude.compiler.trees import write
from etude.compiler.values import AnyOrigin, Closure, Model, Tensor


class Branch(Struct, frozen=True):
    """A branch, a child at `place`: what it reads beside its arguments, the form of its result, and where it stands.

    `running` are the statistics of batches that it moves, with what they were before.
    """

    place: int
    captured: Sequence[Value]
    running: Mapping[AnyOrigin, Value]
    result: Any
    types: Sequence[tuple[str, TensorType]]
    location: Location


def choose(
    session: Session, index: Tensor, branches: Sequence[Any], given: Sequence[Any], at: Location, evaluator: Any
) -> Any:
    """What the branch at the place `index` makes of what is given; places outside of the list are held within."""
    frame = session.frame
    assert frame is not None
    arguments = [leaf for number, value in enumerate(given) for _, leaf in leaves(f"x_{number}", value, at)]
    found = [_branch(session, branch, given, arguments, at, evaluator) for branch in branches]
    for number, branch in enumerate(found):
        if branch.types != found[0].types:
            shown = [", ".join(f"{p}: {t}" if p else str(t) for p, t in one.types) for one in (found[0], branch)]
            raise faults.branch_types(number, shown[0], shown[1], branch.location, found[0].location)
    running = {origin: value for branch in found for origin, value in branch.running.items()}
    captured = list(dict.fromkeys([*running.values(), *(value for branch in found for value in branch.captured)]))
    for branch in found:
        _give_all(frame, branch, len(arguments), captured, running)
    operands = [operand_of(frame, value, at, "'choose'") for value in (index, *arguments)]
    attributes = {
        "children": tuple(branch.place for branch in found),
        "site": frame.builder.next_site(),
        "select": False,
    }
    types = [kind for _, kind in found[0].types] + [value.type for value in running.values()]
    made = frame.builder.append("choose", [*operands, *captured], attributes, types)
    for origin, value in zip(running, made[len(found[0].types) :], strict=True):
        write(frame, origin, frame.builder.apply("stop", [value])[0])
    return formed(found[0].result, iter(tensor(frame, value, at) for value in made))


def _branch(
    session: Session, branch: Any, given: Sequence[Any], arguments: Sequence[Tensor], at: Location, evaluator: Any
) -> Branch:
    frame = session.frame
    assert frame is not None
    place = _location(branch, at)
    with traced_region(session, "choose", at, "all") as region:
        values = iter([region.placeholder(value.type, _name(frame, value), source_of(value)) for value in arguments])
        inner = iter([tensor(frame, value, at) for value in values])
        result = evaluator.call(branch, [formed(value, inner) for value in given], {}, at)
        outputs = [(p, made_of(session, value, place)) for p, value in parts("", result, "a branch", place)]
        _, child = region.cut(outputs)
    types = [(path, value.type) for path, value in outputs]
    running = dict(zip(region.moving, region.running, strict=True))
    return Branch(child, tuple(region.captured), running, result, types, place)


def _give_all(
    frame: Frame, branch: Branch, arguments: int, captured: Sequence[Value], running: Mapping[AnyOrigin, Value]
) -> None:
    """Make a branch a function of the arguments and of all that any of the branches reads, to all that any moves."""
    child = frame.builder.children[branch.place]
    read = [value.id for value in (*branch.running.values(), *branch.captured)]
    own = dict(zip(read, child.sub.inputs[arguments:], strict=True))
    inputs = list(child.sub.inputs[:arguments])
    free = _unused(child.sub)
    for number, value in enumerate(captured):
        name = frame.builder.names.get(value.id, "unused")
        inputs.append(own.get(value.id) or (name, Value(free + number, value.type)))
    given = {value.id: new for value, (_, new) in zip(captured, inputs[arguments:], strict=True)}
    outputs = dict(child.sub.outputs[len(branch.types) :])
    made = {origin: outputs[f"@running.{number}"] for number, origin in enumerate(branch.running)}
    moved = [(f"@running.{n}", made.get(o, given[value.id])) for n, (o, value) in enumerate(running.items())]
    sub = replace(child.sub, inputs=tuple(inputs), outputs=(*child.sub.outputs[: len(branch.types)], *moved))
    frame.builder.children[branch.place] = replace(child, sub=sub)


def _unused(sub: Sub) -> int:
    """A number that no value of a sub-program has, and none after it."""
    used = [value.id for _, value in sub.inputs] + [value.id for op in sub.ops for value in op.results]
    return max(used, default=-1) + 1


def _location(branch: Any, at: Location) -> Location:
    if isinstance(branch, Closure) and not branch.scope.is_library:
        return Location(branch.scope.source, branch.node.span)
    return at if not isinstance(branch, Model) else getattr(branch, "location", at)


def _name(frame: Frame, value: Tensor) -> str:
    return frame.builder.names.get(value.operand.id, "x") if isinstance(value.operand, Value) else "x"
