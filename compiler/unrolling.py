"""Comprehensions and loops: unrolled, each element or round a part of the graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etude.compiler import faults
from etude.compiler.arithmetic import is_number
from etude.compiler.calls import CallSite
from etude.compiler.checks.names import names_in
from etude.compiler.diagnostics import Location
from etude.compiler.extent import Level
from etude.compiler.guards import guard_of, select
from etude.compiler.limits import MAX_ITEMS, check_parts, least_elements, too_many_elements
from etude.compiler.loops import Unrolled, rolled
from etude.compiler.scopes import Scope
from etude.compiler.values import Dataset, Deferred, DeferredList, Measured, Quantity, Range, Record, Tensor, describe
from etude.compiler.workflow import Ref
from etude.grammar import nodes

if TYPE_CHECKING:
    from etude.compiler.session import Session


MOST_ROUNDS = 10_000
"""Of a loop that does not say how many there are."""


class Unrolling:
    """The part of the evaluator that repeats."""

    if TYPE_CHECKING:
        session: Session

        def at(self, node: nodes.Node, scope: Scope) -> Location: ...
        def evaluate(self, node: nodes.Expr, scope: Scope) -> Any: ...
        def static_bool(self, node: nodes.Expr, scope: Scope) -> bool: ...
        def body(self, body: nodes.Body, scope: Scope) -> Any: ...
        def site(self, node: nodes.Node, scope: Scope) -> CallSite: ...

    def eval_Comprehension(self, node: nodes.Comprehension, scope: Scope) -> list[Any]:
        results: list[Any] = []
        for clause in node.clauses:
            if clause.name != "_" and not mentions(node, clause):
                raise faults.unused_variable(clause.name, self.at(clause, scope))
        least = self.session.memo.get(("elements", id(node)))
        if least is None:
            least = self.session.memo["elements", id(node)] = least_elements(node)
        if least > MAX_ITEMS:
            raise too_many_elements(least, self.at(node, scope))
        self._clauses(node, 0, scope, results, ())
        return check_parts(self.session, results, self.at(node, scope))

    def _clauses(
        self, node: nodes.Comprehension, depth: int, scope: Scope, results: list[Any], at: tuple[str, ...]
    ) -> None:
        if depth == len(node.clauses):
            if node.condition is not None and not self.static_bool(node.condition, scope):
                return
            with self.session.named(f"[{', '.join(at)}]" if at and not self.session.frame else None, group=True):
                results.append(self.evaluate(node.element, scope))
            return
        clause = node.clauses[depth]
        items = self.items(self.evaluate(clause.iterable, scope), self.at(clause.iterable, scope))
        level = self.session.extent.enter(len(items), len(self.session.stages.stages), are_alike=True)
        try:
            for index, item in enumerate(items):
                inner = scope.child(**{clause.name: item})
                self._clauses(node, depth + 1, inner, results, (*at, distinguish(clause.name, item, index)))
                self.session.extent.done(level, len(self.session.stages.stages))
        finally:
            self.session.extent.leave()

    def items(self, value: Any, location: Location) -> Sequence[Any]:
        """The elements of a list or a range."""
        if isinstance(value, list):
            return value
        if isinstance(value, DeferredList):
            return value.items()
        if isinstance(value, Range) and isinstance(value.start, int) and isinstance(value.stop, int):
            if value.stop - value.start > self.session.stages.limit:
                raise faults.too_many_stages(self.session.stages.limit, location)
            return value.items()
        ends = (value.start, value.stop) if isinstance(value, Range) else (value,)
        if any(isinstance(end, Deferred | Measured) for end in ends):
            raise faults.after_the_run("the length of this list", location)
        help = (
            "scan(xs, ...) and each(xs, ...) go over the first axis of a tensor" if isinstance(value, Tensor) else None
        )
        if isinstance(value, Range) and any(isinstance(bound, Tensor) for bound in (value.start, value.stop)):
            raise faults.wrong_kind("the number of rounds", "an int known before the run", "a tensor", location)
        odd = [end for end in ends if not isinstance(end, int)]
        got = f"a range with {describe(odd[0])}" if isinstance(value, Range) and odd else describe(value)
        raise faults.wrong_kind("'in'", "a list or a range of ints", got, location, help or _list_of(value))

    def eval_Loop(self, node: nodes.Loop, scope: Scope) -> Any:
        """Unroll a loop. A `while` on a measured value becomes guards: a round runs only if the ones before did."""
        if self.session.frame is not None and node.condition is not None:
            raise faults.while_in_program(self.at(node.condition, scope))
        if node.iterable is None:
            return self._until(node, scope)
        carry = self.evaluate(node.start, scope)
        iterable = self.evaluate(node.iterable, scope)
        items = self.items(iterable, self.at(node.iterable, scope))
        if self.session.frame is not None and isinstance(iterable, Range):
            try:
                return self._rolled(node, scope, carry, iterable.items())
            except Unrolled:
                pass
        level = self.session.extent.enter(len(items), len(self.session.stages.stages), are_alike=True)
        try:
            return self._rounds(node, scope, carry, items, level)
        finally:
            self.session.extent.leave()

    def _rounds(self, node: nodes.Loop, scope: Scope, carry: Any, items: Sequence[Any], level: Level) -> Any:
        outer = guard = self.session.guard
        for index, item in enumerate(items):
            inner = scope.child(**{node.carry: carry, **({node.variable: item} if node.variable else {})})
            name = f"[{distinguish(node.variable or 'round', item, index)}]"
            with self.session.named(None if self.session.frame else name, group=True):
                with self.session.guarded(guard):
                    goes_on = self._condition(node.condition, inner, guard)
                if goes_on is False:
                    break
                guard = goes_on if isinstance(goes_on, Ref) else guard
                with self.session.guarded(guard):
                    result = self.body(node.body, inner)
                with self.session.guarded(outer):
                    carry = result if guard in (None, outer) else select(self.site(node, scope), guard, result, carry)
            self.session.extent.done(level, len(self.session.stages.stages))
        return carry

    def _until(self, node: nodes.Loop, scope: Scope) -> Any:
        """A loop without `in`, whose condition is known in every round."""
        where = self.at(node, scope)
        help = "say how many rounds there can be: round in 1..10"
        if node.condition is None:
            raise faults.wrong_value("a loop needs 'in', or a 'while' that ends it", where, help)
        carry = self.evaluate(node.start, scope)
        for index in range(MOST_ROUNDS):
            inner = scope.child(**{node.carry: carry})
            with self.session.named(f"[round={index}]", group=True):
                goes_on = self.evaluate(node.condition, inner)
                if isinstance(goes_on, Deferred):
                    text = "a loop by a measured value needs 'in', so that the number of its stages is known"
                    raise faults.wrong_value(text, where, help)
                if not isinstance(goes_on, bool):
                    raise faults.wrong_kind("'while'", "a bool", describe(goes_on), self.at(node.condition, scope))
                if not goes_on:
                    return carry
                carry = self.body(node.body, inner)
        text = f"the condition of this loop still holds after {MOST_ROUNDS:,} rounds"
        raise faults.wrong_value(text, where, "say how many rounds there can be: round in 1..20000")

    def _rolled(self, node: nodes.Loop, scope: Scope, start: Any, numbers: range) -> Any:
        """A loop over a range in a traced function."""

        def body(carry: Any, number: Any) -> Any:
            names = {node.carry: carry} | ({node.variable: number} if node.variable else {})
            return self.body(node.body, scope.child(**names))

        return rolled(self.session, node, start, numbers, body, self.at(node, scope))

    def _condition(self, node: nodes.Expr | None, scope: Scope, guard: Ref | None) -> bool | Ref:
        """Whether a round takes place: known now, or the output that will tell."""
        value = True if node is None else self.evaluate(node, scope)
        if isinstance(value, bool):
            return value
        assert node is not None
        if not isinstance(value, Deferred) or value.kind != "bool":
            raise faults.wrong_kind("'while'", "a bool", describe(value), self.at(node, scope))
        return guard_of(self.site(node, scope), value, guard)


def _list_of(value: Any) -> str | None:
    """How a list is made of what is none."""
    if isinstance(value, Record) and value:
        return f"a record is no list; write [{', '.join(f'r.{name}' for name in list(value)[:3])}] for its fields"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"write 1..{value}, or 0..{value - 1}"
    if isinstance(value, Range):
        return "int(...) is the whole number below; others are made of whole ones: [0.1 * i for i in 1..9]"
    if isinstance(value, Dataset):
        return "map(d, row => ...), filter and measure go over the rows"
    return 'a text is no list; write the texts down, ["a", "b"]' if isinstance(value, str) else None


def distinguish(name: str, value: Any, index: int) -> str:
    """What tells one element of a sweep from the others: `lr=0.001`, or its position."""
    if isinstance(value, bool | int | float | str | Quantity) or is_number(value):
        return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
    return str(index) if name == "_" else f"{name}={index}"


def mentions(node: nodes.Comprehension, clause: nodes.Clause) -> bool:
    """Whether the variable of `clause` is used in the comprehension."""
    after = node.clauses[node.clauses.index(clause) + 1 :]
    return clause.name in names_in((node.element, node.condition, tuple(c.iterable for c in after)))
