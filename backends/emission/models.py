"""Plan the class `Models`: one attribute for each distinct model of a stage, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from etude.backends.emission.classes import Attribute, ClassPlan, place_children
from etude.backends.emission.naming import attributes
from etude.backends.program.ir import Module, Sub

Use: TypeAlias = tuple[ClassPlan, Module]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that a program calls: what it is for people, its class, its weights, and one sub-program of it."""

    name: str
    plan: ClassPlan
    module: Module
    sub: Sub


@dataclass(frozen=True, slots=True)
class Place:
    """A module below `models`: `text` is how Python reaches it, `path` its dotted name."""

    text: str
    path: str

    def at(self, text: str, path: str) -> Place:
        """A place one level down."""
        return Place(f"{self.text}.{text}", f"{self.path}.{path}") if self.path else Place(text, path)


@dataclass
class ModelsPlan:
    """What `Models` holds.

    `roots` are its attributes, `places` where each use of a class lives, `ties` the (later, earlier) texts of what is
    one object, `slots` the paths of each slot in order of definition.
    """

    roots: list[tuple[Attribute, Wanted]] = field(default_factory=list)
    places: dict[Use, Place] = field(default_factory=dict)
    ties: list[tuple[str, str]] = field(default_factory=list)
    slots: list[tuple[int, str]] = field(default_factory=list)


def plan_models(wanted: Sequence[Wanted]) -> ModelsPlan:
    """Give each distinct model an attribute, unless it is a part of another one."""
    distinct = {(model.plan, model.module): model for model in reversed(wanted)}
    parts = {use for plan, module in distinct for use, _ in _below(plan, module, Place("", ""))}
    roots = [model for model in reversed(distinct.values()) if (model.plan, model.module) not in parts]
    names = place_children([(model.name, model.sub.name) for model in roots], attributes())
    result = ModelsPlan(roots=list(zip(names, roots, strict=True)))
    slots: dict[int, str] = {}
    for attribute, model in result.roots:
        _lay_out((model.plan, model.module), Place(attribute.text, attribute.path), result, slots)
    return result


def learning(plan: ModelsPlan, update: set[int]) -> list[Place]:
    """The largest modules, and single weights, that hold exactly the slots of `update`, each slot once."""
    missing = set(update)
    found: list[Place] = []
    for attribute, model in plan.roots:
        _cover(model.plan, model.module, Place(attribute.text, attribute.path), missing, update, found)
    assert not missing, f"no program uses the slots {sorted(missing)}, which are to be updated"
    return found


def is_module(place: Place, plan: ModelsPlan) -> bool:
    """Whether the place is a module, not a single weight."""
    return any(known == place for known in plan.places.values())


def _below(plan: ClassPlan, module: Module, place: Place) -> Iterator[tuple[Use, Place]]:
    """All proper parts with weights, parents first."""
    for attribute, below, part in zip(plan.children, plan.classes, module.children, strict=True):
        if attribute is not None and below is not None:
            inner = place.at(attribute.text, attribute.path)
            yield (below, part), inner
            yield from _below(below, part, inner)


def _lay_out(use: Use, place: Place, result: ModelsPlan, slots: dict[int, str]) -> None:
    """Note the places of a module and all below it; what is there already is tied."""
    plan, module = use
    if use in result.places:
        result.ties.append((place.text, result.places[use].text))
        result.slots += [(slot, path) for slot, path in _slot_paths(use, place)]
        return
    result.places[use] = place
    for name, slot in zip(plan.slots, module.slots, strict=True):
        if slot in slots:
            result.ties.append((f"{place.text}.{name}", slots[slot]))
        slots.setdefault(slot, f"{place.text}.{name}")
        result.slots.append((slot, f"{place.path}.{name}"))
    for attribute, below, part in zip(plan.children, plan.classes, module.children, strict=True):
        if attribute is not None and below is not None:
            _lay_out((below, part), place.at(attribute.text, attribute.path), result, slots)


def _slot_paths(use: Use, place: Place) -> Iterator[tuple[int, str]]:
    for (plan, module), inner in [(use, place), *_below(*use, place)]:
        for name, slot in zip(plan.slots, module.slots, strict=True):
            yield slot, f"{inner.path}.{name}"


def _cover(
    plan: ClassPlan, module: Module, place: Place, missing: set[int], update: set[int], found: list[Place]
) -> None:
    own = _slots_of(module)
    if not own & missing:
        return
    running = running_slots(plan, module)
    if own - running <= missing:
        found.append(place)
        missing -= own
        return
    for name, slot in zip(plan.slots, module.slots, strict=True):
        if slot in missing:
            found.append(place.at(name, name))
            missing.discard(slot)
    for attribute, below, part in zip(plan.children, plan.classes, module.children, strict=True):
        if attribute is not None and below is not None:
            _cover(below, part, place.at(attribute.text, attribute.path), missing, update, found)


def _slots_of(module: Module) -> set[int]:
    return set(module.slots).union(*map(_slots_of, module.children))


def running_slots(plan: ClassPlan, module: Module) -> set[int]:
    """The slots of a module that its calls update."""
    own = {slot for slot, kind in zip(module.slots, plan.sub.slots, strict=True) if kind.running}
    parts = zip(plan.classes, module.children, strict=True)
    return own.union(*(running_slots(below, part) for below, part in parts if below is not None))
