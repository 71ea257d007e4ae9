"""Write the body of a function: statements, nested expressions and loops from the operations of a sub-program."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etude.backends.emission.chains import Chain, find_chains
from etude.backends.emission.devices import settle
from etude.backends.emission.higher import fold, higher
from etude.backends.emission.layout import is_atom
from etude.backends.emission.lists import LONG, list_text
from etude.backends.emission.naming import Scope, singular, word
from etude.backends.emission.packing import Run, grouped
from etude.backends.emission.simplify import is_draw, is_stateful, is_tabled
from etude.backends.emission.spelled import needs_batch, spelled, template
from etude.backends.ops.literals import literal_text
from etude.backends.ops.spelling import Framework
from etude.backends.program.dims import Size
from etude.backends.program.ir import HIGHER, Child, Literal, Op, Operand, Sub, Value, callees

# An expression longer than this is taken apart into statements.
LONGEST_EXPRESSION = 96
# A nested expression of this length is taken out first.
LONG_OPERAND = 24
# What an operation of these makes is called like what it was made of.
TRANSPARENT = frozenset({"add", "sub", "mul", "div", "neg", "cast", "stop"})


@dataclass(frozen=True, slots=True)
class Callee:
    """How a child is called: `text` is the callable, `sequence[index]` where it lives when it is one of a list.

    `weights` are the expressions of all its weights, where they are read, `lists` the lengths of lists in them. `runs`
    are the arguments that go as one list.
    """

    text: str
    sequence: str | None = None
    index: int = 0
    length: int = 1
    method: str = ""
    weights: Sequence[str] = ()
    lists: Mapping[str, int] = field(default_factory=dict)
    runs: Sequence[Run] = ()


@dataclass(frozen=True)
class Members:
    """How a body spells what its sub-program owns, and how long the lists are that it is given.

    Runs of at least `scans` equal models are one scan; none are where it is 0.
    """

    framework: Framework
    weights: Sequence[str] = ()
    callees: Sequence[Callee] = ()
    lists: Mapping[str, int] = field(default_factory=dict)
    scans: int = 0


@dataclass
class Body:
    """The statements of a function, the expressions of its outputs, and which of its chains are scans."""

    lines: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    scanned: list[Chain] = field(default_factory=list)


def write_body(sub: Sub, members: Members, inputs: Sequence[str], scope: Scope) -> Body:
    """Spell `sub` with its inputs called `inputs`; new variables get names that are free in `scope`."""
    return _Writer(sub, members, inputs, scope).write()


def mentions_batch(sub: Sub, framework: Framework) -> bool:
    """Whether the text of `sub` needs the variable `b`."""
    return any(needs_batch(op, framework) for op in sub.ops if is_tabled(op))


def batch_names(sub: Sub, framework: Framework) -> set[str]:
    """What no input may be called: the variable for the size of the batch, where it is needed."""
    return {"b"} if mentions_batch(sub, framework) else set()


def batch_size(sub: Sub, inputs: Sequence[str]) -> str:
    """An expression for `b`, read off the shape of an input."""
    for (_, value), name in zip(sub.inputs, inputs, strict=True):
        for axis, dim in enumerate(value.type.shape):
            if isinstance(dim, Size) and len(dim.coefficients) == 2:
                offset, factor = dim.coefficients
                size = f"{name}.shape[{axis}]" + (f" - {offset}" if offset else "")
                if factor == 1:
                    return size
                return f"({size}) // {factor}" if offset else f"{size} // {factor}"
    raise AssertionError(f"no input of {sub.name} has the batch as a dimension")


class _Writer:
    def __init__(self, sub: Sub, members: Members, inputs: Sequence[str], scope: Scope) -> None:
        self.sub, self.members, self.inputs, self.scope = sub, members, inputs, scope
        self.body = Body()
        self.text: dict[int, str] = {}
        self.is_pending: set[int] = set()
        self.origin: dict[int, Op] = {}
        self.uses = Counter(o.id for op in sub.ops for o in op.operands if isinstance(o, Value))
        self.uses.update(o.id for _, o in sub.outputs if isinstance(o, Value))
        self.returned = {o.id for _, o in sub.outputs if isinstance(o, Value)}
        self.text |= {value.id: name for (_, value), name in zip(sub.inputs, inputs, strict=True)}
        self.chains = find_chains(sub, members, self.uses, self.text)
        self.lists = {name: length for callee in members.callees for name, length in callee.lists.items()}
        self.lists |= members.lists

    def write(self) -> Body:
        if mentions_batch(self.sub, self.members.framework):
            self.scope.reserve("b")
            self.body.lines.append(f"b = {batch_size(self.sub, self.inputs)}")
        for index, op in enumerate(self.sub.ops):
            self._operation(index, op)
        outputs = [self._operand(value) for _, value in self.sub.outputs]
        return Body(*settle(self.body.lines, outputs, next(iter(self.inputs), None)), self.body.scanned)

    def _operation(self, index: int, op: Op) -> None:
        if op.name == "weight":
            self.text[op.results[0].id] = self.members.weights[op.attrs["slot"]]
        elif op.name == "read":
            self.text[op.results[0].id] = self.members.callees[op.attrs["child"]].weights[op.attrs["slot"]]
        elif op.name == "key":
            self.text[op.results[0].id] = "key"
        elif op.name == "update":
            self._update(self.members.weights[op.attrs["slot"]], self._operand(op.operands[0]))
        elif op.name == "write":
            place = self.members.callees[op.attrs["child"]].weights[op.attrs["slot"]]
            self._update(place, self._operand(op.operands[0]))
        elif index in self.chains:
            chain = self.chains[index]
            if chain is not None and self._is_scanned(chain):
                self._scan(chain, index)
            elif chain is not None:
                self._loop(chain, index)
        else:
            self._place(op, self._expression(op))

    def _update(self, place: str, text: str) -> None:
        """Put a value into a running slot of the module, or of one below it."""
        is_torch = self.members.framework == "torch"
        self.body.lines.append(f"{place}.copy_({text})" if is_torch else f"{place} = {text}")

    def _expression(self, op: Op) -> str:
        self._bind_repeated(op)
        while True:
            text = self._spelled(op)
            operand = self._to_bind(op)
            if len(text) <= LONGEST_EXPRESSION or operand is None or self._listed(op) is not None:
                return text
            self._bind(operand)

    def _spelled(self, op: Op) -> str:
        operands = [self._operand(operand) for operand in op.operands]
        if is_tabled(op):
            return self._listed(op) or spelled(op, self.members.framework, operands)
        if op.name in HIGHER:
            functions = [self.members.callees[place].text for place in callees(op)]
            draws = [self.sub.children[place].sub.is_random for place in callees(op)]
            if op.name == "grad":
                operands = self._arguments(op, operands)
            if self._packs(op):
                op = Op(op.name, op.operands, (("count", 1), ("mapped", ())), op.results)
            return higher(op, self.members.framework, functions, operands, draws)
        callee = self.members.callees[op.attrs["child"]]
        operands = self._arguments(op, operands)
        if is_draw(op, self.sub):
            operands.append(fold(op.attrs["site"]))
        return f"{callee.text}({', '.join(operands)})"

    def _arguments(self, op: Op, operands: Sequence[str]) -> list[str]:
        """The arguments of a function or a model, some of them in lists."""
        (place,) = callees(op)
        found = grouped(operands, self.members.callees[place].runs)
        return [given if isinstance(given, str) else list_text(given, self.lists) for given in found]

    def _packs(self, op: Op) -> bool:
        """Whether derivatives are those by one list."""
        return op.name == "grad" and (0, op.attrs["count"]) in self.members.callees[callees(op)[0]].runs

    def _listed(self, op: Op) -> str | None:
        """An operation on a list of many operands, if runs of them are alike."""
        operands = [self._operand(operand) for operand in op.operands] if is_tabled(op) else []
        if len(operands) < LONG or not all(map(is_atom, operands)):
            return None
        items, plain = list_text(operands, self.lists), f"[{', '.join(operands)}]"
        text = template(op, self.members.framework)
        holes = f"[{', '.join(f'_{place}_' for place in range(len(operands)))}]"
        return None if items == plain or holes not in text else text.replace(holes, items)

    def _bind_repeated(self, op: Op) -> None:
        """Give a variable to each nested operand that the spelling writes down more than once."""
        pending = [i for i, o in enumerate(op.operands) if isinstance(o, Value) and o.id in self.is_pending]
        if not is_tabled(op) or not pending:
            return
        text = template(op, self.members.framework)
        for i in pending:
            if text.count(f"_{i}_") > 1:
                operand = op.operands[i]
                assert isinstance(operand, Value)
                self._bind(operand)

    def _to_bind(self, op: Op) -> Value | None:
        """The nested operand to take out of an expression that is too long: the first long one."""
        pending = [o for o in op.operands if isinstance(o, Value) and o.id in self.is_pending]
        long = [value for value in pending if len(self.text[value.id]) >= LONG_OPERAND]
        return next(iter(long or pending), None)

    def _operand(self, operand: Operand) -> str:
        return literal_text(operand.value) if isinstance(operand, Literal) else self.text[operand.id]

    def _place(self, op: Op, text: str) -> None:
        """Keep the text for the one use it has, or bind it to a variable."""
        if len(op.results) > 1:
            self._bind_all(op, text)
            return
        (value,) = op.results
        self.text[value.id] = text
        self.is_pending.add(value.id)
        self.origin[value.id] = op
        is_named = value.id in self.sub.names and value.id not in self.returned
        if is_named or self.uses[value.id] != 1:
            self._bind(value)

    def _bind_all(self, op: Op, text: str) -> None:
        if self._packs(op):
            name = self.scope.fresh("slopes")
            self.lists[name] = len(op.results)
            self.text |= {value.id: f"{name}[{place}]" for place, value in enumerate(op.results)}
            self.body.lines.append(f"{name} = {text}")
            return
        names = []
        for value in op.results:
            name = self._fresh(value, op) if self.uses[value.id] else "_"
            self.text[value.id] = name
            names.append(name)
        self.body.lines.append(f"{', '.join(names)} = {text}")

    def _bind(self, value: Value) -> None:
        self.is_pending.remove(value.id)
        name = self._fresh(value, self.origin[value.id])
        self.body.lines.append(f"{name} = {self.text[value.id]}")
        self.text[value.id] = name

    def _fresh(self, value: Value, op: Op) -> str:
        return self.scope.fresh(self.sub.names.get(value.id) or self._wish(op))

    def _wish(self, op: Op) -> str:
        """What to call the result of an operation that has no name."""
        if op.name == "call":
            child: Child = self.sub.children[op.attrs["child"]]
            return child.sub.name
        tensors = [operand for operand in op.operands if isinstance(operand, Value)]
        source = self.origin.get(tensors[0].id) if len(tensors) == 1 else None
        if op.name in TRANSPARENT and source is not None:
            return self._wish(source)
        return word(op.name)

    def _loop(self, chain: Chain, index: int) -> None:
        """Write a run of calls, each on the result of the one before, as a loop over the list that they come from."""
        call, first = chain.calls[0], chain.first
        element = self.scope.fresh("i" if first.places else singular(first.sequence.rpartition(".")[2]))
        carry = self._carry(chain, index)
        operands = [
            carry if i == chain.position else "" if i in first.places else self._shared(operand)
            for i, operand in enumerate(call.operands)
        ]
        for number, place in enumerate(first.places):
            operands[place] = f"{first.sequence}[{element}{f' + {number}' if number else ''}]"
        elements = f"range({first.index}, {chain.stop}, {first.step})" if first.places else self._elements(chain)
        operands = self._arguments(call, operands)
        if is_draw(call, self.sub):
            site = self.scope.fresh("site")
            operands.append(fold(site))
            offset = call.attrs["site"]
            self.body.lines.append(f"for {site}, {element} in enumerate({elements}{f', {offset}' if offset else ''}):")
        else:
            self.body.lines.append(f"for {element} in {elements}:")
        function = first.call if first.places else f"{element}{first.call}"
        self._round(chain.tails[0], carry, f"{function}({', '.join(operands)})")
        self.text[chain.result.id] = carry

    def _is_scanned(self, chain: Chain) -> bool:
        """Whether the calls are of as many equal models as a scan is made of, which change none of their weights."""
        least, call = self.members.scans, chain.calls[0]
        is_long = 0 < least <= len(chain.calls) and not chain.first.places
        return is_long and not is_stateful(self.sub.children[call.attrs["child"]].sub)

    def _scan(self, chain: Chain, index: int) -> None:
        """Write a run of calls of equal models as one scan over their weights; each draws at its own site."""
        call, first = chain.calls[0], chain.first
        carry = self._carry(chain, index)
        operands = [carry if i == chain.position else self._shared(o) for i, o in enumerate(call.operands)]
        element = self.scope.fresh(singular(first.sequence.rpartition(".")[2]))
        site, function = self.scope.fresh("site"), self.scope.fresh("one")
        operands = self._arguments(call, operands) + ([fold(site)] if is_draw(call, self.sub) else [])
        self.body.lines += ["", f"def {function}({carry}: Array, {element}: Any, {site}: Array) -> Array:"]
        self._round(chain.tails[0], carry, f"{element}{first.call}({', '.join(operands)})")
        offset = f", {call.attrs['site']}" if is_draw(call, self.sub) and call.attrs["site"] else ""
        made = f"{carry} = over_blocks({function}, {carry}, {self._elements(chain)}{offset})"
        self.body.lines += [f"    return {carry}", "", made]
        self.text[chain.result.id] = carry
        self.body.scanned.append(chain)

    def _elements(self, chain: Chain) -> str:
        """The models of a list that a chain goes through."""
        first = chain.first
        length = self.members.callees[chain.calls[0].attrs["child"]].length
        is_whole = (first.index, chain.stop) == (0, length)
        return first.sequence if is_whole else f"{first.sequence}[{first.index or ''}:{chain.stop}]"

    def _round(self, tail: Sequence[Op], carry: str, text: str) -> None:
        """Write one round of a loop: `text`, then the operations on it, into the variable `carry`."""
        for op in tail:
            operands = [text if isinstance(operand, Value) else "" for operand in op.operands]
            longer = spelled(op, self.members.framework, operands)
            if len(longer) > LONGEST_EXPRESSION or longer.count(text) > 1:
                self.body.lines.append(f"    {carry} = {text}")
                longer = spelled(op, self.members.framework, [carry if operand else "" for operand in operands])
            text = longer
        self.body.lines.append(f"    {carry} = {text}")

    def _carry(self, chain: Chain, index: int) -> str:
        """The variable that goes around the loop, holding its first value."""
        start, wish = chain.calls[0].operands[chain.position], self.sub.names.get(chain.result.id)
        text = self._operand(start)
        if isinstance(start, Value):
            is_variable = start.id not in self.is_pending and text.isidentifier()
            if is_variable and self.uses[start.id] == 1 and wish in {None, text}:
                return text
            self.is_pending.discard(start.id)
        name = "x" if wish is None and self._is_over("x", chain, index) else self.scope.fresh(wish or "x")
        self.body.lines.append(f"{name} = {text}")
        return name

    def _is_over(self, name: str, chain: Chain, index: int) -> bool:
        """Whether the input called `name` is not read from operation `index` on, but to start the chain there."""
        value = next((v.id for (_, v), n in zip(self.sub.inputs, self.inputs, strict=True) if n == name), None)
        later = [o for op in self.sub.ops[index:] for o in op.operands] + [o for _, o in self.sub.outputs]
        reads = sum(isinstance(o, Value) and o.id == value for o in later)
        starts = chain.calls[0].operands[chain.position]
        reads -= isinstance(starts, Value) and starts.id == value
        waiting = any(re.search(rf"\b{name}\b", self.text[pending]) for pending in self.is_pending)
        return value is not None and reads == 0 and not waiting

    def _shared(self, operand: Operand) -> str:
        """An operand that every round of a loop reads: bound before the loop."""
        if isinstance(operand, Value) and operand.id in self.is_pending:
            self._bind(operand)
        return self._operand(operand)
