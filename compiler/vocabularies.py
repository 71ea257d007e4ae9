"""Which tokens reach which tables: a table has an entry for each token, and those of one tokenizer only.

Tokens are followed through the operations that pick and place them, from the columns of a dataset into the models that
look them up. Numbers that were computed with are tokens no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.ir import CALLING, Literal, Op, Operand, Sub, Value, callees
from etude.compiler import faults
from etude.compiler.diagnostics import Location, RecipeError, Related
from etude.compiler.schema import ColumnSchema, Vocabulary
from etude.compiler.values import Tensor

# Operations whose result holds numbers of some operands and no others: the places of these operands, None for all.
KEEPING: Mapping[str, tuple[int, ...] | None] = {
    "slice": (0,), "reshape": (0,), "transpose": (0,), "rearrange": (0,), "broadcast": (0,), "repeat": (0,),
    "roll": (0,), "flip": (0,), "flatten": (0,), "split_at": (0,), "take": (0,), "gather": (0,), "take_along": (0,),
    "sort": (0,), "stop": (0,), "where": (1, 2), "concat": None, "stack": None,
}  # fmt: skip


class Need(Struct, frozen=True):
    """An input of a sub-program is looked up in a table of `rows` entries: the weight `origin`, where it is one."""

    input: int
    rows: int
    origin: Any


class Source(Struct, frozen=True):
    """Where numbers come from: an input of the function, by its value, or elsewhere; then they are below `bound`, if
    that is known."""

    value: int | None = None
    bound: int | None = None


UNKNOWN = Source()


def check_tokens(
    session: Any, frame: Any, model: str, traced: Any, arguments: Sequence[Any], location: Location
) -> None:
    """Refuse tokens that a model has no entry for, and those of another tokenizer than before."""
    for need in _needs(session, traced.sub, traced.origins):
        argument = arguments[need.input] if need.input < len(arguments) else None
        if not isinstance(argument, Tensor):
            continue
        for source in sources_in(frame, argument):
            known = frame.vocabularies.get(source.value)
            if known is not None:
                _check_known(session, need, known, model, location)
            elif source.bound is not None and source.bound > need.rows:
                raise faults.small_vocabulary(f"the table of '{model}'", need.rows, source.bound, "", location)
        if argument.classes is not None and argument.classes > need.rows:
            raise faults.small_vocabulary(f"the table of '{model}'", need.rows, argument.classes, "", location)


def _check_known(session: Any, need: Need, known: Vocabulary, model: str, location: Location) -> None:
    if need.rows < known.size:
        raise faults.small_vocabulary(f"the table of '{model}'", need.rows, known.size, known.name, location)
    if need.origin is None or not known.key:
        return
    first, place = session.memo.setdefault(("tokens", need.origin), (known, session.place(location)))
    if first.key != known.key:
        error = faults.other_tokenizer(f"'{model}'", first, known, location)
        related = Related(place, f"here it gets tokens of '{first.name}'")
        raise RecipeError(_with(error.diagnostic, related))


def _with(diagnostic: Any, related: Related) -> Any:
    return replace(diagnostic, related=(*diagnostic.related, related))


def check_classes(frame: Any, logits: Tensor, labels: Tensor, location: Location) -> None:
    """Refuse logits that are fewer than the tokens that they are compared with."""
    count = logits.type.shape[-1] if logits.type.rank else None
    if not frame.vocabularies or not isinstance(count, int):
        return
    for source in sources_in(frame, labels):
        known = frame.vocabularies.get(source.value)
        if known is not None and count < known.size:
            raise faults.small_vocabulary("a distribution of these logits", count, known.size, known.name, location)


def with_vocabulary(sub: Sub, given: Mapping[str, ColumnSchema], column: ColumnSchema) -> ColumnSchema:
    """A column that a function of rows returns, with the vocabulary that all of its numbers are of, if there is one."""
    output = dict(sub.outputs).get(column.name)
    if output is None or column.vocabulary is not None or column.dtype != "int32" or column.kind != "tensor":
        return column
    tokens: dict[int | None, Vocabulary | None] = {
        value.id: given[name].vocabulary for name, value in sub.inputs if name in given
    }
    found = [(tokens.get(source.value), source.bound) for source in sources(sub.ops, sub.inputs, output)]
    known = {vocabulary for vocabulary, _ in found if vocabulary is not None}
    bounds = [bound for vocabulary, bound in found if vocabulary is None]
    if len(known) != 1 or any(bound is None or bound > next(iter(known)).size for bound in bounds):
        return column
    return replace(column, vocabulary=known.pop())


def sources_in(frame: Any, value: Tensor) -> set[Source]:
    """Where the numbers of a tensor come from, in the function being traced; elements are what they are elements of."""
    elements = {own.id: of for region in frame.regions for own, of in region.sources.items() if of is not None}
    return sources(frame.builder.ops, frame.builder.inputs, value.operand, elements)


def sources(
    ops: Sequence[Op],
    inputs: Sequence[tuple[str, Value]],
    operand: Operand,
    elements: Mapping[int, Value] | None = None,
) -> set[Source]:
    """Where the numbers of an operand come from."""
    made = {result.id: op for op in ops for result in op.results}
    given = {value.id for _, value in inputs}
    found: set[Source] = set()
    seen: set[int] = set()
    stack = [operand]
    while stack:
        each = stack.pop()
        if isinstance(each, Literal):
            found.add(Source(bound=int(each.value) + 1))
        elif each.id in given:
            found.add(Source(value=each.id))
        elif elements and each.id in elements:
            stack.append(elements[each.id])
        elif each.id not in seen:
            seen.add(each.id)
            op = made.get(each.id)
            if op is not None and op.name in KEEPING:
                places = KEEPING[op.name]
                stack += op.operands if places is None else [op.operands[place] for place in places]
            else:
                found.add(UNKNOWN if op is None else Source(bound=_bound(op)))
    return found


def _bound(op: Op) -> int | None:
    """What all results of an operation are below, if it tells."""
    if op.name == "categorical":
        last = op.operands[0].type.shape[-1]
        return last if isinstance(last, int) else None
    if op.name == "randint" and isinstance(op.operands[1], Literal):
        return int(op.operands[1].value) + 1
    if op.name == "tensor" and op.results[0].type.dtype == "int32":
        return max(numbers_in(op.attrs["values"]), default=0) + 1
    if op.name == "full" and isinstance(op.operands[0], Literal):
        return int(op.operands[0].value) + 1
    if op.name == "iota" and isinstance(op.attrs["n"], int):
        return int(op.attrs["n"])
    if op.name == "cast" and op.operands[0].type.dtype == "bool":
        return 2
    return None


def numbers_in(values: Any) -> Iterator[int]:
    """The numbers of nested lists."""
    for value in values if isinstance(values, tuple | list) else ():
        yield from numbers_in(value) if isinstance(value, tuple | list) else (int(value),)


def _needs(session: Any, sub: Sub, origins: Any) -> tuple[Need, ...]:
    """What a sub-program looks up its inputs in, at any depth."""
    key = ("needs", id(sub), id(origins))
    if key not in session.memo:
        places = {value.id: place for place, (_, value) in enumerate(sub.inputs)}
        slots = {op.results[0].id: op.attrs["slot"] for op in sub.ops if op.name == "weight"}
        found: dict[Need, None] = {}
        for op in sub.ops:
            for operand, rows, origin in _lookups(session, op, sub, origins, slots):
                for source in sources(sub.ops, sub.inputs, operand):
                    if source.value is not None:
                        found[Need(places[source.value], rows, origin)] = None
        session.memo[key] = (tuple(found), sub, origins)  # both are kept, so that their ids stay theirs
    needs: tuple[Need, ...] = session.memo[key][0]
    return needs


def _lookups(session: Any, op: Op, sub: Sub, origins: Any, slots: Mapping[int, int]) -> list[tuple[Operand, int, Any]]:
    """What an operation looks up: the numbers, how many entries there are, and the weight that holds them."""
    if op.name == "embedding":
        table, ids = op.operands
        slot = slots.get(table.id) if isinstance(table, Value) else None
        rows = table.type.shape[0]
        return [(ids, rows, origins.slots[slot].fresh if slot is not None else None)] if isinstance(rows, int) else []
    found: list[tuple[Operand, int, Any]] = []
    if op.name in CALLING:
        for place in callees(op):
            below = origins.children[place] if place < len(origins.children) else None
            if below is not None:
                for need in _needs(session, sub.children[place].sub, below):
                    # a loop gives its number first, which is no operand; of a choice the first operand is the place
                    index = need.input + {"loop": -1, "choose": 1}.get(op.name, 0)
                    if 0 <= index < len(op.operands):
                        found.append((op.operands[index], need.rows, need.origin))
    return found
