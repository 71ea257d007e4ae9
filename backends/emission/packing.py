"""Decide which inputs of functions go as one list: a model's weights, where a function is given many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from etude.backends.program.ir import Op, Value, callees
from etude.backends.program.types import TensorType

if TYPE_CHECKING:
    from etude.backends.emission.forms import Form

MANY = 8

Run = tuple[int, int]
"""Inputs from one place to another, which is not among them."""


def packed_inputs(roots: Sequence[Form], forms: Sequence[Form]) -> dict[Form, tuple[Run, ...]]:
    """For each function the runs of its inputs that are one argument; `forms` has children before parents."""
    packed: dict[Form, tuple[Run, ...]] = {}
    uses: dict[Form, list[tuple[Form, Op]]] = {}
    for caller in (*roots, *reversed(forms)):
        if caller in uses or caller in roots:
            packed[caller] = _runs(caller, uses.get(caller, []), packed) if not caller.has_weights else ()
            for op in caller.sub.ops:
                for place in callees(op):
                    uses.setdefault(caller.children[place], []).append((caller, op))
    return {form: runs for form, runs in packed.items() if runs}


def _runs(form: Form, uses: Sequence[tuple[Form, Op]], packed: Mapping[Form, tuple[Run, ...]]) -> tuple[Run, ...]:
    """The runs of inputs without a batch that all users give from one place."""
    if any(op.name not in {"call", "grad"} or op.attrs.get("mapped") for _, op in uses):
        return ()
    kinds: list[list[object]] = [[_is_weight(value.type)] for _, value in form.sub.inputs]
    for caller, op in uses:
        for place, (kind, source) in enumerate(zip(kinds, _sources(caller, op, packed), strict=True)):
            kind += [source, place < op.attrs["count"] if op.name == "grad" else None]
    runs = [[place for place, _ in run] for _, run in groupby(enumerate(kinds), key=lambda pair: pair[1])]
    found = [(run[0], run[-1] + 1) for run in runs if len(run) >= MANY and kinds[run[0]][0]]
    counts = {op.attrs["count"] for _, op in uses if op.name == "grad"}
    return tuple(run for run in found if all(run == (0, count) or run[0] >= count for count in counts))


def _is_weight(kind: TensorType) -> bool:
    return kind.dtype == "float32" and all(isinstance(dim, int) for dim in kind.shape)


def _sources(caller: Form, op: Op, packed: Mapping[Form, tuple[Run, ...]]) -> Iterator[object]:
    """Where each operand comes from: which argument of the caller it is part of, or which operation makes it."""
    made = {
        value.id: "read" if each.name in {"read", "weight"} else "made"
        for each in caller.sub.ops
        for value in each.results
    }
    places = {value.id: place for place, (_, value) in enumerate(caller.sub.inputs)}
    for operand in op.operands:
        place = places.get(operand.id) if isinstance(operand, Value) else None
        if place is None:
            yield made[operand.id] if isinstance(operand, Value) else "number"
        else:
            yield next((run for run in packed.get(caller, ()) if run[0] <= place < run[1]), "input")


def grouped(texts: Sequence[str], runs: Sequence[Run]) -> list[str | list[str]]:
    """The arguments of a function: texts, and lists of texts where a run goes as one.

    >>> grouped(["x", "a", "b", "y"], [(1, 3)])
    ['x', ['a', 'b'], 'y']
    """
    result: list[str | list[str]] = []
    ends = dict(runs)
    at = 0
    while at < len(texts):
        end = ends.get(at)
        result.append(texts[at] if end is None else list(texts[at:end]))
        at = at + 1 if end is None else end
    return result
