"""Find the sub-programs that come to the same source text, whatever their names, shapes of weights and batches."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from etude.backends.emission.body import batch_size, mentions_batch
from etude.backends.emission.simplify import is_draw, is_tabled
from etude.backends.emission.spelled import template
from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import Op, Operand, Sub, Value, callees


@dataclass(eq=False)
class Form:
    """One distinct text: `subs` are the sub-programs that come to it, the first one gives the names.

    `number` counts in order of first appearance, children before parents.
    """

    number: int
    children: tuple[Form, ...]
    subs: list[Sub] = field(default_factory=list)

    @property
    def sub(self) -> Sub:
        return self.subs[0]

    @property
    def has_weights(self) -> bool:
        return bool(self.sub.slots) or any(child.has_weights for child in self.children)

    def called_children(self) -> Iterator[Form]:
        """The children that the text calls."""
        for op in self.sub.ops:
            yield from (self.children[place] for place in callees(op))

    def walk(self) -> Iterator[Form]:
        """This form and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Forms:
    """The forms of simplified sub-programs."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.all: list[Form] = []
        self._by_text: dict[Hashable, Form] = {}
        self._by_sub: dict[int, Form] = {}

    def of(self, sub: Sub) -> Form:
        """The form of `sub`; those of its children come first."""
        if id(sub) not in self._by_sub:
            children = tuple(self.of(child.sub) for child in sub.children)
            text = self._text(sub, children)
            form = self._by_text.get(text)
            if form is None:
                form = self._by_text[text] = Form(len(self.all), children)
                self.all.append(form)
            form.subs.append(sub)
            self._by_sub[id(sub)] = form
        return self._by_sub[id(sub)]

    def root(self, sub: Sub) -> Form:
        """A form for the body of a function of the module, which is never shared."""
        return Form(-1, tuple(self.of(child.sub) for child in sub.children), [sub])

    def _text(self, sub: Sub, children: tuple[Form, ...]) -> Hashable:
        names: dict[int, str] = {}
        for _, value in sub.inputs:
            names[value.id] = f"v{len(names)}"
        ops = []
        for op in sub.ops:
            ops.append(self._op_text(op, sub, children, names))
            for value in op.results:
                names[value.id] = f"v{len(names)}"
        sized = mentions_batch(sub, self.framework)
        return (
            len(sub.inputs),
            batch_size(sub, [f"v{i}" for i in range(len(sub.inputs))]) if sized else None,
            tuple((slot.type.dtype, slot.type.rank, slot.running) for slot in sub.slots),
            tuple(child.number for child in children),
            tuple(ops),
            tuple((name, _text_of(value, names)) for name, value in sub.outputs),
        )

    def _op_text(self, op: Op, sub: Sub, children: tuple[Form, ...], names: dict[int, str]) -> Hashable:
        operands = [_text_of(operand, names) for operand in op.operands]
        if is_tabled(op):
            return template(op, self.framework), *operands
        if op.name in {"weight", "update"}:
            return op.name, op.attrs["slot"], *operands
        site = op.attrs.get("site") if is_draw(op, sub) else None
        if op.name != "call":
            return op.name, tuple(pair for pair in op.attributes if pair[0] != "site"), site, *operands
        return "call", op.attrs["child"], site, *operands


def _text_of(operand: Operand, names: dict[int, str]) -> str:
    return names[operand.id] if isinstance(operand, Value) else repr(operand.value)
