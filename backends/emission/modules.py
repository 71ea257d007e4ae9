"""The text of module classes, and of functions for what has no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from textwrap import wrap

from etude.backends.emission.body import Callee, Members, batch_names, write_body
from etude.backends.emission.chains import Chain
from etude.backends.emission.classes import ClassPlan
from etude.backends.emission.dialect import Dialect
from etude.backends.emission.forms import Form
from etude.backends.emission.imports import function_names
from etude.backends.emission.layout import INDENT, WIDTH, double_quoted, indented
from etude.backends.emission.merging import ClassText
from etude.backends.emission.naming import variables
from etude.backends.emission.packing import Run, grouped
from etude.backends.emission.parameters import Argument
from etude.backends.program.ir import Sub

# What a list of one element needs no range for.
ALONE = " for _ in range(1)"
# A space at which no line is broken.
TIED = "\u00a0"
# A number on its own: the type `float32` has none.
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")


class ModuleWriter:
    """Writes classes and functions; `called` is the name of the method or function that each form becomes.

    `packed` are the inputs of functions that go as one list. `scanned` has the chains of forms that became scans.
    """

    def __init__(
        self,
        dialect: Dialect,
        plans: Mapping[Form, ClassPlan],
        called: Mapping[Form, str],
        packed: Mapping[Form, tuple[Run, ...]],
    ) -> None:
        self.dialect, self.plans, self.called, self.packed = dialect, plans, called, packed
        self.taken = {*called.values(), *function_names(dialect.framework)}
        self.scanned: dict[Form, list[Chain]] = {}

    def class_text(self, plan: ClassPlan) -> ClassText:
        """A class: its constructor, and a method for each of its forms."""
        members = Members(
            framework=self.dialect.framework,
            weights=[f"self.{name}{self.dialect.read}" for name in plan.slots],
        )
        methods = {}
        for number, form in enumerate(form for form in plan.forms if form.sub.outputs):
            members = replace(members, callees=self._own_callees(plan, form))
            lines = self._definition(form, members, is_method=True, is_documented=number > 0)
            methods[self.called[form]] = lines
        return ClassText(
            name=plan.name,
            kind=plan.sub.name,
            signatures=signatures(plan.forms[0]),
            parameters=list(plan.parameters),
            setup=list(self.dialect.setup),
            constructor=self._constructor(plan),
            methods=methods,
        )

    def class_lines(self, text: ClassText) -> list[str]:
        """The source of a class."""
        parameters = "".join(f", {name}: int" for name in text.parameters)
        made = [line.replace(ALONE, "") for line in (*text.setup, *text.constructor)]
        lines = [*docstring(text.signatures, 1), "", f"def __init__(self{parameters}) -> None:", *indented(made)]
        for method in text.methods.values():
            lines += ["", *method]
        return [f"class {text.name}({self.dialect.module}):", *indented(lines)]

    def function_lines(self, form: Form) -> list[str]:
        """A function for a form without weights."""
        callees = [self.callee(child, None) for child in form.children]
        members = Members(self.dialect.framework, (), callees)
        return self._definition(form, members, is_method=False, is_documented=True)

    def callee(self, form: Form, path: str | None) -> Callee:
        """How `form` is called on the module at `path`, which is None when it has no weights."""
        name = self.called[form]
        if path is None:
            return Callee(name, runs=self.packed.get(form, ()))
        weights = [f"{path}.{text}{self.dialect.read}" for text in weight_texts(self.plans[form])]
        lists = {f"{path}.{name}": length for name, length in list_lengths(self.plans[form]).items()}
        return Callee(path if name == self.dialect.forward else f"{path}.{name}", weights=weights, lists=lists)

    def _own_callees(self, plan: ClassPlan, form: Form) -> list[Callee]:
        callees = []
        for child, attribute in zip(form.children, plan.children, strict=True):
            callee = self.callee(child, None if attribute is None else f"self.{attribute.text}")
            if attribute is not None and attribute.index is not None:
                name = self.called[child]
                method = "" if name == self.dialect.forward else f".{name}"
                length = plan.list_length(attribute.name)
                sequence = f"self.{attribute.name}"
                callee = Callee(callee.text, sequence, attribute.index, length, method, callee.weights, callee.lists)
            callees.append(callee)
        return callees

    def _definition(self, form: Form, members: Members, *, is_method: bool, is_documented: bool) -> list[str]:
        sub = form.sub
        scope = variables({*self.taken, *batch_names(sub, self.dialect.framework)})
        arguments: list[str] = []
        names: list[str] = []
        lists: dict[str, int] = {}
        for given in grouped([name for name, _ in sub.inputs], self.packed.get(form, ())):
            name = scope.fresh(given if isinstance(given, str) else "weights")
            arguments.append(
                f"{name}: {self.dialect.array if isinstance(given, str) else f'list[{self.dialect.array}]'}"
            )
            names += [name] if isinstance(given, str) else [f"{name}[{place}]" for place in range(len(given))]
            lists |= {} if isinstance(given, str) else {name: len(given)}
        body = write_body(sub, replace(members, lists=lists, scans=self.dialect.scans), names, scope)
        self.scanned[form] = body.scanned
        if sub.is_random:
            arguments.append(f"key: {self.dialect.key}")
        arguments = ["self"] * is_method + arguments
        returns = self.dialect.array
        if len(body.outputs) != 1:
            returns = f"tuple[{', '.join([returns] * len(body.outputs))}]"
        lines = docstring(signatures(form, self.packed.get(form, ())), 2 if is_method else 1) if is_documented else []
        lines += [double_quoted(line) for line in [*body.lines, f"return {', '.join(body.outputs)}"]]
        return [f"def {self.called[form]}({', '.join(arguments)}) -> {returns}:", *indented(lines)]

    def _constructor(self, plan: ClassPlan) -> list[str]:
        lines = []
        for name, slot, shape in zip(plan.slots, plan.sub.slots, plan.shapes, strict=True):
            assert self.dialect.parameter is not None
            lines.append(self.dialect.parameter(name, slot, shape))
        return [*lines, *self._children(plan)]

    def _children(self, plan: ClassPlan) -> list[str]:
        made: dict[str, list[tuple[int | None, str]]] = {}
        for attribute, below, given in zip(plan.children, plan.classes, plan.child_arguments, strict=True):
            if attribute is not None and below is not None:
                made.setdefault(attribute.name, []).append((attribute.index, construction(below, given)))
        return attribute_lines(made, self.dialect)


def weight_texts(plan: ClassPlan) -> list[str]:
    """How each weight of a module is reached from it: own ones first, then child by child."""
    texts = list(plan.slots)
    for attribute, below in zip(plan.children, plan.classes, strict=True):
        if attribute is not None and below is not None:
            texts += [f"{attribute.text}.{text}" for text in weight_texts(below)]
    return texts


def list_lengths(plan: ClassPlan) -> dict[str, int]:
    """The lengths of the lists in a module and in all below it, by how they are reached from it."""
    lengths: dict[str, int] = {}
    for attribute, below in zip(plan.children, plan.classes, strict=True):
        if attribute is not None and below is not None:
            if attribute.index is not None:
                lengths[attribute.name] = plan.list_length(attribute.name)
            lengths |= {f"{attribute.text}.{name}": length for name, length in list_lengths(below).items()}
    return lengths


def attribute_lines(made: Mapping[str, Sequence[tuple[int | None, str]]], dialect: Dialect) -> list[str]:
    """Statements that make the attributes of a module, from (index in a list or none, expression) for each name."""
    lines = []
    for name, elements in made.items():
        if elements[0][0] is None:
            lines.append(f"self.{name} = {elements[0][1]}")
            continue
        texts = [text for _, text in sorted(elements, key=lambda element: element[0] or 0)]
        items = _repeated(texts)
        lines.append(f"self.{name} = {dialect.sequence}([{items}])")
    return lines


def _repeated(texts: Sequence[str]) -> str:
    """The elements of a list, where many are equal said once.

    >>> _repeated(["Linear(8, 2)", *["Linear(2, 2)"] * 5])
    'Linear(8, 2), *(Linear(2, 2) for _ in range(5))'
    """
    if len(set(texts)) == 1:
        return f"{texts[0]} for _ in range({len(texts)})"
    items: list[str] = []
    for text, run in groupby(texts):
        count = len(list(run))
        items += [f"*({text} for _ in range({count}))"] if count > 3 else [text] * count
    return ", ".join(items)


def construction(plan: ClassPlan, arguments: Sequence[Argument]) -> str:
    """The expression that makes a module."""
    return f"{plan.name}({', '.join(map(str, arguments))})"


def signatures(form: Form, runs: Sequence[Run] = ()) -> list[str]:
    """What the sub-programs of a form are called, and their types; `runs` are the inputs that go as one list."""
    return list(dict.fromkeys(signature(sub, runs) for sub in form.subs))


def docstring(signatures: Sequence[str], level: int) -> list[str]:
    """What all signatures say, `_` for a number in which they differ; it stands `level` levels deep."""
    width = WIDTH - level * len(INDENT)
    alike = [NUMBER.sub("_", text) for text in signatures]
    shown = _common([text for text, shape in zip(signatures, alike, strict=True) if shape == alike[0]])
    text = f"{shown}{', and others' if len(set(alike)) > 1 else ''}"
    first, *rest = [line.replace(TIED, " ") for line in wrap(f'"""{text}.', width, break_on_hyphens=False)]
    if not rest and len(first) + 3 <= width:
        return [f'{first}"""']
    return [first, *rest, '"""']


def _common(signatures: Sequence[str]) -> str:
    """One of several texts that differ in numbers only, without those numbers.

    >>> _common(["linear(out=8): [b, 4] -> [b, 8]", "linear(out=2): [b, 4] -> [b, 2]"])
    'linear(out=_): [b, 4] -> [b, _]'
    """
    numbers = [NUMBER.findall(text) for text in signatures]
    shown = iter(each[0] if len(set(each)) == 1 else "_" for each in zip(*numbers, strict=True))
    return NUMBER.sub(lambda _: next(shown), signatures[0])


def signature(sub: Sub, runs: Sequence[Run] = ()) -> str:
    """A sub-program as people know it: `block(heads=4): float32[b, 16, 64] -> float32[b, 16, 64]`."""
    types = [str(value.type).replace(" ", TIED) for _, value in sub.inputs]
    given = [each if isinstance(each, str) else f"{len(each)} weights" for each in grouped(types, runs)]
    outputs = ", ".join(str(value.type).replace(" ", TIED) for _, value in sub.outputs)
    text = f"{sub.doc or sub.name}: {', '.join(given)} -> {outputs}"
    return text.replace("\\", "\\\\").replace('"', "'")
