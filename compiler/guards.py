"""Stages that run only if a measured value says so, and values that are one thing or another by it."""

from __future__ import annotations

from typing import Any

from etude.backends.program.dims import evaluate
from etude.compiler import faults
from etude.compiler.architecture import architecture
from etude.compiler.arithmetic import expression
from etude.compiler.calls import CallSite
from etude.compiler.measured import stage_of
from etude.compiler.values import (
    AnyOrigin,
    Dataset,
    Deferred,
    FrozenOrigin,
    Measured,
    Model,
    Output,
    Quantity,
    Record,
    TrainedOrigin,
    Training,
    describe,
)
from etude.compiler.workflow import Ref


def guard_of(site: CallSite, condition: Deferred, outer: Ref | None) -> Ref:
    """The output that tells whether the stages behind a condition run: it holds, and those around them run."""
    from etude.compiler.builtins.reporting import compute

    if outer is None:
        return compute(site, condition)
    return compute(site, Deferred(["and", ["ref", outer.stage, outer.port], condition.expression], "bool"))


def select(site: CallSite, guard: Ref, new: Any, old: Any, *, is_forced: bool = False) -> Any:
    """`new` where the value at `guard` is true, `old` otherwise (and where it was never reached).

    One value for both sides needs no stage, but with `is_forced` has one that waits for the guard; a model does not.
    """
    if isinstance(new, Record) and isinstance(old, Record) and list(new) == list(old):
        return Record({name: select(site, guard, new[name], old[name], is_forced=is_forced) for name in new})
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [select(site, guard, a, b, is_forced=is_forced) for a, b in zip(new, old, strict=True)]
    if new is old and not (is_forced and isinstance(new, Dataset | Deferred | Measured | Output)):
        return new
    if isinstance(new, Model) and isinstance(old, Model):
        return _select_model(site, guard, new, old)
    if isinstance(new, Dataset) and isinstance(old, Dataset):
        return _select_dataset(site, guard, new, old)
    if isinstance(new, Deferred | int | float) and isinstance(old, Deferred | int | float):
        return _select_number(site, guard, new, old)
    if isinstance(new, Measured) and isinstance(old, Measured) and new.type == old.type and new.rows == old.rows:
        refs = [stage_of(site, side) for side in (new, old)]
        return Measured(new.type, _select_file(site, guard, refs, f"Tensor[{new.type}]"), 0, new.rows, new.classes)
    if isinstance(new, Output) and isinstance(old, Output) and new.kind == old.kind:
        return Output(new.kind, _select_file(site, guard, [new.ref, old.ref], new.kind.capitalize()), new.label)
    if isinstance(new, Deferred | str) and isinstance(old, Deferred | str) and (new != old):
        return _select_number(site, guard, new, old)
    if isinstance(new, str | Quantity) and new == old:
        return new
    if type(new) is type(old) and not isinstance(new, list | Record | Measured):
        text = f"{_what(site)}: {describe(new)} cannot be chosen by a measured value"
        raise faults.wrong_value(text, site.location, "leave it out, and keep the number that it was made with")
    text = f"{_what(site)} must keep its form"
    raise faults.wrong_kind(text, describe(old), describe(new), site.location)


def held_back(site: CallSite, guard: Ref, value: Any) -> Any:
    """A model, or a record with models, whose weights are there once the value at `guard` is."""
    if isinstance(value, Record):
        return Record({name: held_back(site, guard, item) for name, item in value.items()})
    return _select_model(site, guard, value, value, is_forced=True) if isinstance(value, Model) else value


def _what(site: CallSite) -> str:
    choices = {"best": "what 'best' chooses from", "when": "what 'when' gives"}
    return choices.get(site.name, "what a loop with 'while' hands on")


def _select_file(site: CallSite, guard: Ref, refs: list[Ref], kind: str) -> Ref:
    from etude.compiler.builtins.data import add_stage

    return Ref(add_stage(site, "select", {"of": "file"}, [guard, *refs], {"0": kind}), "0")


def _select_number(site: CallSite, guard: Ref, new: Any, old: Any) -> Any:
    if not isinstance(new, Deferred) and type(new) is type(old) and new == old:
        return new
    sides = [expression(side, site.location) for side in (new, old)]
    kinds = [_kind(side) for side in (new, old)]
    if kinds[0] != kinds[1]:
        raise faults.wrong_kind(f"{_what(site)} must keep its form", kinds[1], kinds[0], site.location)
    whole = all(side.dtype == "int32" if isinstance(side, Deferred) else isinstance(side, int) for side in (new, old))
    return Deferred(["if", ["ref", guard.stage, guard.port], *sides], kinds[0], "int32" if whole else "float32")


def _kind(side: Any) -> str:
    if isinstance(side, Deferred):
        return side.kind
    return "text" if isinstance(side, str) else "bool" if isinstance(side, bool) else "number"


def _select_dataset(site: CallSite, guard: Ref, new: Dataset, old: Dataset) -> Dataset:
    from etude.compiler.builtins.data import add_stage

    if dict(new.columns) != dict(old.columns):
        text = f"{_what(site)} must keep its columns"
        raise faults.wrong_kind(text, str(old), str(new), site.location)
    id = add_stage(site, "select", {"of": "data"}, [guard, new.ref, old.ref], {"data": str(new)})
    return Dataset(Ref(id, "data"), new.columns, new.rows, new.role, new.roots | old.roots)


def _select_model(site: CallSite, guard: Ref, new: Model, old: Model, *, is_forced: bool = False) -> Model:
    """A stage that hands on the weights of one of two models of one architecture."""
    from etude.compiler.builtins.data import add_stage
    from etude.compiler.slots import Inputs, SlotTable
    from etude.compiler.wrappers import apply_training

    inputs = Inputs([guard])
    table = SlotTable(inputs, site.session.seed)
    if architecture(new) != architecture(old):
        if site.name == "best":  # both are made in any case, so that either can be called
            return _one_of(site, guard, [new, old])
        starts = site.name not in {"best", "when"}
        help = "start the loop with a model of the architecture that it trains" if starts else None
        raise faults.wrong_value(f"{_what(site)} must keep its architecture", site.location, help)
    both = zip(_weights(site, new), _weights(site, old), strict=True)
    # what both have, as adapters their base, stays
    differing = [pair for pair in both if is_forced or pair[0][0] != pair[1][0]]
    if not differing:
        return new
    sides = list(zip(*differing, strict=True))
    spec = {"of": "weights"}
    for name, side in zip(("then", "else"), sides, strict=True):
        spec[name] = [{**slot, "source": table.source(origin)} for origin, slot, _ in side]  # type: ignore[assignment]
    id = add_stage(site, "select", spec, inputs.refs, {"0": "Model"})
    updated: dict[AnyOrigin, TrainedOrigin] = {}
    for position, (origin, _, _) in enumerate(sides[0]):
        plain = origin.of if isinstance(origin, FrozenOrigin) else origin
        updated[plain] = TrainedOrigin(Ref(id, "0"), position, origin.fresh)
    return apply_training(new, Training(id, updated, None))


def _one_of(site: CallSite, guard: Ref, models: list[Model]) -> Model:
    """A model that calls the first where the value at `guard` is true, else the second."""
    from etude.compiler.instances import input_names
    from etude.compiler.scopes import Lazy

    for model in models:
        if len(input_names(model)) != 1:
            text = f"{_what(site)}: models of different architectures must have one input each"
            raise faults.wrong_value(text, site.location)
    index = Deferred(["if", ["ref", guard.stage, guard.port], ["number", 0], ["number", 1]], "number", "int32")
    definition = site.session.library.module("std.choices")["one_of"]
    definition = definition.force() if isinstance(definition, Lazy) else definition
    made: Model = site.evaluator.call(definition, [models, index], {}, site.location)
    return made


def _weights(site: CallSite, model: Model) -> list[tuple[AnyOrigin, dict[str, Any], Any]]:
    """Each weight of a model: its origin, what a slot says of it, and its shape."""
    from etude.compiler.instances import slot_of
    from etude.compiler.models import model_origins

    origins = list(dict.fromkeys(model_origins(site.session, model)))
    if not origins:
        text = f"{_what(site)} must have been used before, where it is a model, so that its weights are known"
        raise faults.wrong_value(text, site.location)
    result = []
    for origin in origins:
        _, slot = slot_of(site.session, origin)
        shape = [evaluate(dim, 1) for dim in slot.type.shape]
        result.append((origin, {"shape": shape, "dtype": slot.type.dtype, "init": dict(slot.init)}, shape))
    return result
