"""Plan one class for each structure of weights: its attributes, its constructor's parameters, and its methods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from etude.backends.emission.forms import Form
from etude.backends.emission.naming import Scope, attributes, camel
from etude.backends.emission.parameters import Argument, plan_parameters
from etude.backends.program.ir import Module, Sub

Use: TypeAlias = tuple[Form, Module]
"""A sub-program with the weights that it is used on."""

ELEMENT = re.compile(r"(.*[^.\d].*)\.(\d+)$")


@dataclass(frozen=True, slots=True)
class Attribute:
    """Where a child lives in its parent: an attribute of its own, or an element of a list."""

    name: str
    index: int | None = None

    @property
    def path(self) -> str:
        return self.name if self.index is None else f"{self.name}.{self.index}"

    @property
    def text(self) -> str:
        return self.name if self.index is None else f"{self.name}[{self.index}]"


@dataclass(eq=False)
class ClassPlan:
    """A class to be emitted.

    Its methods are `forms`: the same weights used by different texts, such as training and evaluation. `children[i]`
    is None where child i has no weights: such a child is a function. `arguments` are those of the constructor for each
    sub-program, by object identity.
    """

    name: str
    forms: list[Form]
    slots: list[str] = field(default_factory=list)
    children: list[Attribute | None] = field(default_factory=list)
    classes: list[ClassPlan | None] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    shapes: list[list[Argument]] = field(default_factory=list)
    child_arguments: list[list[Argument]] = field(default_factory=list)
    arguments: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def sub(self) -> Sub:
        return self.forms[0].sub

    def list_length(self, name: str) -> int:
        """The number of elements of the list `name`."""
        return sum(child is not None and child.name == name for child in self.children)


def has_weights(module: Module) -> bool:
    """Whether any weight lives in `module`."""
    return bool(module.slots) or any(has_weights(child) for child in module.children)


def plan_classes(forms: Sequence[Form], uses: Sequence[Use], names: Scope) -> dict[Form, ClassPlan]:
    """The class of every form that has weights; `uses` are the children of the programs with the weights they use."""
    group = _united(forms, uses)
    plans: dict[Form, ClassPlan] = {}
    for form in forms:
        if not form.has_weights:
            continue
        root = group[form]
        if root is form:
            plans[form] = ClassPlan(names.fresh(camel(form.sub.name)), [form])
        else:
            plans[form] = plans[root]
            plans[form].forms.append(form)
    for plan in dict.fromkeys(plans.values()):
        _plan_attributes(plan, plans)
    return plans


def _united(forms: Sequence[Form], uses: Sequence[Use]) -> dict[Form, Form]:
    """For each form the first one that is used on the same weights."""
    leader = {form: form for form in forms}
    users: dict[Module, Form] = {}
    for form, module in _instances(uses):
        _unite(leader, users.setdefault(module, form), form)
    return {form: _leader(leader, form) for form in forms}


def _instances(uses: Sequence[Use]) -> Iterator[Use]:
    """Every use of a form on weights, once."""
    seen: set[Use] = set()
    stack = list(reversed(uses))
    while stack:
        form, module = stack.pop()
        if (form, module) not in seen and has_weights(module):
            seen.add((form, module))
            yield form, module
            stack.extend(zip(form.children, module.children, strict=True))


def _unite(leader: dict[Form, Form], left: Form, right: Form) -> None:
    a, b = sorted((_leader(leader, left), _leader(leader, right)), key=lambda form: form.number)
    if a is not b:
        leader[b] = a
        for one, other in zip(left.children, right.children, strict=True):
            if one.has_weights:
                _unite(leader, one, other)


def _leader(leader: dict[Form, Form], form: Form) -> Form:
    while leader[form] is not form:
        form = leader[form]
    return form


def _plan_attributes(plan: ClassPlan, plans: dict[Form, ClassPlan]) -> None:
    scope = attributes()
    plan.slots = [scope.fresh(slot.name or "weight") for slot in plan.sub.slots]
    children = list(zip(plan.sub.children, plan.forms[0].children, strict=True))
    placed = iter(place_children([(child.name, child.sub.name) for child, form in children if form.has_weights], scope))
    plan.children = [next(placed) if form.has_weights else None for _, form in children]
    plan.classes = [plans.get(form) for form in plan.forms[0].children]
    plan_parameters(plan)


def place_children(names: Sequence[tuple[str, str]], scope: Scope) -> list[Attribute]:
    """Attributes for children by their own names and those of their models.

    `blocks.0` is an element of the list `blocks`; `0`, a part of a chain that has no name, is called as its model is.
    """
    elements: dict[str, list[tuple[int, int]]] = {}
    result: dict[int, Attribute] = {}
    for place, (own, model) in enumerate(names):
        match = ELEMENT.fullmatch(own)
        if match:
            elements.setdefault(match[1], []).append((int(match[2]), place))
        else:
            result[place] = Attribute(scope.fresh(model if own.replace(".", "").isdigit() else own))
    for prefix, members in elements.items():
        name = scope.fresh(prefix)
        result |= {place: Attribute(name, index) for index, (_, place) in enumerate(sorted(members))}
    return [result[place] for place in range(len(names))]
