"""Find runs of calls over the elements of one list, each on what was made of the result of the one before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from etude.backends.emission.simplify import is_draw, is_tabled
from etude.backends.emission.spelled import template
from etude.backends.program.ir import Op, Sub, Value

if TYPE_CHECKING:
    from etude.backends.emission.body import Members

IN_LIST = re.compile(r"(\w+)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Element:
    """What a call takes from the list `sequence`: the model at `index`, or `step` tensors that stand at `places`."""

    sequence: str
    index: int
    call: str
    step: int = 1
    places: tuple[int, ...] = ()

    def is_followed_by(self, other: Element) -> bool:
        """Whether another call takes in the same way what comes next in the list."""
        return replace(self, index=self.index + self.step) == other


@dataclass(frozen=True, slots=True)
class Chain:
    """One call of each of consecutive elements of a list, each followed by the same operations.

    `tails[i]` follow `calls[i]`, each on the result of the one before; operand `position` of a call is the last result.
    """

    first: Element
    calls: tuple[Op, ...]
    tails: tuple[tuple[Op, ...], ...]
    position: int

    @property
    def stop(self) -> int:
        """The place in the list behind the last element."""
        return self.first.index + len(self.calls) * self.first.step

    @property
    def result(self) -> Value:
        """What the last round makes."""
        return (self.calls[-1:] + self.tails[-1])[-1].results[0]


def find_chains(
    sub: Sub, members: Members, uses: Mapping[int, int], inputs: Mapping[int, str]
) -> dict[int, Chain | None]:
    """Where each chain starts, by index into `sub.ops`; the other operations of a chain have None in their place.

    `inputs` are the texts of the inputs by the id of their values.
    """
    finder = _Finder(sub, members, uses, inputs)
    place = {id(op): index for index, op in enumerate(sub.ops)}
    found: dict[int, Chain | None] = {}
    for index, op in enumerate(sub.ops):
        if index not in found and finder.element(op) is not None:
            chain = finder.chain(op)
            if len(chain.calls) > 1:
                found |= {place[id(part)]: None for part in (*chain.calls, *sum(chain.tails, ()))}
                found[index] = chain
    return found


class _Finder:
    def __init__(self, sub: Sub, members: Members, uses: Mapping[int, int], inputs: Mapping[int, str]) -> None:
        self.sub, self.members, self.uses, self.inputs = sub, members, uses, inputs
        self.reader = {o.id: op for op in sub.ops for o in op.operands if isinstance(o, Value)}

    def element(self, op: Op) -> Element | None:
        """What the call takes from a list, if it takes anything from one."""
        if op.name != "call":
            return None
        callee = self.members.callees[op.attrs["child"]]
        if callee.sequence:
            return Element(callee.sequence, callee.index, callee.method)
        texts = [self.inputs.get(operand.id) if isinstance(operand, Value) else None for operand in op.operands]
        taken = [(place, found) for place, text in enumerate(texts) if (found := IN_LIST.fullmatch(text or ""))]
        first = int(taken[0][1][2]) if taken else 0
        if [(found[1], int(found[2])) for _, found in taken] != [
            (taken[0][1][1], first + number) for number in range(len(taken))
        ]:
            return None
        places = tuple(place for place, _ in taken)
        return Element(taken[0][1][1], first, callee.text, len(taken), places) if taken else None

    def chain(self, first: Op) -> Chain:
        """The longest chain that starts with `first`; it may be of one call."""
        calls, tails = [first], [self._tail(first)]
        position = -1
        while True:
            last = (tails[-1] or (calls[-1],))[-1]
            after = self._only_reader(last)
            if after is None or not self._continues(calls[-1], after, last.results[0]):
                break
            at = after.operands.index(last.results[0])
            if position not in {-1, at} or self._texts(tails[-1]) != self._texts(tails[0]):
                break
            position = at
            calls.append(after)
            tails.append(self._tail(after))
        return self._closed(calls, tails, position)

    def _closed(self, calls: list[Op], tails: list[tuple[Op, ...]], position: int) -> Chain:
        """End a chain with a round like the others: the last call is left out where other operations follow it."""
        first, length = self.element(calls[0]), len(tails[0])
        assert first is not None
        if self._texts(tails[-1][:length]) != self._texts(tails[0]):
            return Chain(first, tuple(calls[:-1]), tuple(tails[:-1]), position)
        return Chain(first, tuple(calls), (*tails[:-1], tails[-1][:length]), position)

    def _tail(self, call: Op) -> tuple[Op, ...]:
        """The operations that are made of the result of `call` and of nothing else."""
        tail: list[Op] = []
        op = self._only_reader(call)
        while op is not None and self._is_link(op):
            tail.append(op)
            op = self._only_reader(op)
        return tuple(tail)

    def _only_reader(self, op: Op) -> Op | None:
        if len(op.results) != 1 or self.uses[op.results[0].id] != 1:
            return None
        return self.reader.get(op.results[0].id)

    def _is_link(self, op: Op) -> bool:
        tensors = [operand for operand in op.operands if isinstance(operand, Value)]
        return is_tabled(op) and len(tensors) == len(op.results) == 1 and not is_draw(op, self.sub)

    def _texts(self, tail: Sequence[Op]) -> list[str]:
        return [template(op, self.members.framework) for op in tail]

    def _are_equal(self, op: Op, after: Op) -> bool:
        """Whether two calls are of one program, with weights of the same shapes."""
        children = self.sub.children
        return children[op.attrs["child"]].sub is children[after.attrs["child"]].sub

    def _continues(self, op: Op, after: Op, result: Value) -> bool:
        here, there = self.element(op), self.element(after)
        if here is None or there is None or len(op.operands) != len(after.operands):
            return False
        if not here.is_followed_by(there) or (self.members.scans and not self._are_equal(op, after)):
            return False
        draws = is_draw(op, self.sub)
        if draws != is_draw(after, self.sub) or (draws and op.attrs["site"] + 1 != after.attrs["site"]):
            return False
        at = after.operands.index(result)
        pairs = zip(op.operands, after.operands, strict=True)
        return all(i == at or i in here.places or a == b for i, (a, b) in enumerate(pairs))
