"""The words of messages about weights and parts of models; see `faults`."""

from __future__ import annotations

from collections.abc import Sequence

from etude.compiler.diagnostics import Diagnostic, Location, RecipeError
from etude.compiler.faults import fault


def other_architecture(names: tuple[str, str], first: str, other: str, location: Location) -> RecipeError:
    which = "these models" if names[0] == names[1] else f"'{names[0]}' and '{names[1]}'"
    return fault(
        "E318",
        f"{which} are of two architectures: {first} in the one, {other} in the other",
        location,
        "the first difference",
        help="arithmetic on weights takes models of one architecture",
    )


def wrong_base(adapter: str, base: str, other: str | None, location: Location) -> RecipeError:
    named = f"'{other}'" if other and other != base else "this model"
    return fault(
        "E319",
        f"the adapter '{adapter}' was made for '{base}', not for {named}",
        location,
        "another model",
        help=f"use it with '{base}', or make and train an adapter of {named}",
    )


def nothing_learns(name: str, location: Location) -> RecipeError:
    return fault(
        "E401",
        f"'{name}' is in update, but nothing of it can learn: it is frozen, or as it was at the start",
        location,
        "all of it is frozen",
        help="take it out of update, or freeze less of it",
    )


def no_gradient(name: str, location: Location) -> RecipeError:
    return fault(
        "E401",
        f"'{name}' is in update, but no gradient of the loss reaches it",
        location,
        "it would never move",
        help="what the loss takes of it goes through stop(...), or through numbers that are no floats",
    )


def follows_nothing(name: str, followed: str, location: Location) -> RecipeError:
    return fault(
        "E401",
        f"the slow copy '{name}' follows '{followed}', of which nothing learns in this loss",
        location,
        "it would never move",
        help="let it follow a model of 'update'",
    )


def no_part(glob: str, model: str, location: Location, near: Sequence[str]) -> RecipeError:
    return fault(
        "E408",
        f"\"{glob}\" names no part of '{model}'",
        location,
        "matches nothing",
        help=f"there are {', '.join(near)}" if near else f"'{model}' has no parts",
    )


def no_weight_of(glob: str, model: str, location: Location, near: Sequence[str]) -> RecipeError:
    return fault(
        "E408",
        f"\"{glob}\" names no weight of '{model}'",
        location,
        "matches nothing",
        help=f"there are {', '.join(near)}" if near else None,
    )


def own_teacher(location: Location) -> Diagnostic:
    return Diagnostic(
        "W405",
        "both sides of this distillation are the model that learns: it is its own teacher",
        location,
        "moves with the student",
        help="teach by start(m), by a slow copy (ema), or by an earlier version",
    )


def statistics_of_elements(location: Location) -> RecipeError:
    return fault(
        "E410",
        "a model that learns here keeps statistics of batches, and 'each' would call it on one element at a time",
        location,
        "an element is no batch",
        help="call it on all elements before, 'scan' over them, or use its slow means: frozen(m)",
    )


def tensors_for_weights(name: str, location: Location) -> RecipeError:
    return fault(
        "E412",
        f"'{name}' has tensors in the place of its weights: they cannot start again, be drawn again or be replaced",
        location,
        "made of a model with other weights",
        help="do that to the model before: start(m).with(tree), replace(m, ...).with(tree)",
    )


def long_steps(optimizer: str, lr: float, location: Location) -> Diagnostic:
    return Diagnostic(
        "W412",
        f"each step of '{optimizer}' moves a weight by about 'lr', whatever its gradient is: by {lr:g}",
        location,
        "far more than weights are large",
        help="rates between 1e-5 and 1e-2 are usual; 'sgd' moves in proportion to the gradient",
    )
