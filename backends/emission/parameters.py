"""Find the sizes that differ between the constructors of one class: they become its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from etude.backends.emission.naming import Scope

if TYPE_CHECKING:
    from etude.backends.emission.classes import ClassPlan
    from etude.backends.program.ir import Sub

Argument: TypeAlias = int | str
"""A size in a constructor: a number, or the name of a parameter."""

Row: TypeAlias = tuple[int, ...]


def plan_parameters(plan: ClassPlan) -> None:
    """Fill `parameters`, `shapes`, `child_arguments` and `arguments`; the classes of the children are planned."""
    subs = [sub for form in plan.forms for sub in form.subs]
    columns = list(zip(*(_sizes(plan, sub) for sub in subs), strict=True))
    roles = _roles(plan)
    groups: dict[Row, list[str]] = {}
    for column, role in zip(columns, roles, strict=True):
        if len(set(column)) > 1:
            groups.setdefault(column, []).append(role)
    scope = Scope()
    names = {column: scope.fresh(_name(found)) for column, found in groups.items()}
    plan.parameters = list(names.values())
    plan.arguments = {id(sub): tuple(column[i] for column in names) for i, sub in enumerate(subs)}
    _spell_sizes(plan, [names.get(column, column[0]) for column in columns])


def _sizes(plan: ClassPlan, sub: Sub) -> Row:
    """The sizes in the constructor for `sub`: the shapes of its weights, then the arguments of its children."""
    sizes: list[int] = []
    for slot in sub.slots:
        for dim in slot.type.shape:
            assert isinstance(dim, int), f"the shape of weight {slot.name} depends on the batch"
            sizes.append(dim)
    for child, below in zip(sub.children, plan.classes, strict=True):
        if below is not None:
            sizes.extend(below.arguments[id(child.sub)])
    return tuple(sizes)


def _roles(plan: ClassPlan) -> list[str]:
    """What each of the sizes is: `inputs` and `outputs` of matrices and kernels, `dim` of vectors."""
    roles = []
    for slot in plan.sub.slots:
        rank = slot.type.rank
        roles += ["size"] * (rank - 2) + (["inputs", "outputs"] if rank >= 2 else ["dim"] * rank)
    for below in plan.classes:
        if below is not None:
            roles += [name.rstrip("_0123456789") for name in below.parameters]
    return roles


def _name(found: list[str]) -> str:
    """The name of a parameter from the roles of the sizes that it stands for."""
    kinds = set(found)
    if {"inputs", "outputs"} <= kinds:
        return "dim" if found[0] == "inputs" else "hidden"
    for kind in ("inputs", "outputs", "hidden"):
        if kind in kinds:
            return kind
    return found[0]


def _spell_sizes(plan: ClassPlan, sizes: list[Argument]) -> None:
    rest = iter(sizes)
    plan.shapes = [[next(rest) for _ in slot.type.shape] for slot in plan.sub.slots]
    plan.child_arguments = [[] if below is None else [next(rest) for _ in below.parameters] for below in plan.classes]
