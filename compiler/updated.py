"""What a `train` updates, as models by the names of their results; lists among them, taken apart and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.instances import model_name
from etude.compiler.values import Fitted, Model, Record, describe


def named_models(site: CallSite, update: Any) -> dict[str, Model]:
    """`update = net`, `[a, b]`, `{net: memory.net}` or `{heads: [a, b]}` as models by name: of a list `heads[0]`, .."""
    if isinstance(update, Model):
        return {model_name(update): update}
    if isinstance(update, list) and update:
        for model in update:
            _check_model(site, model, "'update'", "a model, a list of models or a record of models", describe(update))
        _check_once(site, update)
        return _named(update)
    if isinstance(update, Record) and update:
        found = _taken_apart(update)
        for name, model in found.items():
            _check_model(site, model, f"'{name}' of 'update'", "a model, or a list of models", describe(model))
        _check_once(site, list(found.values()))
        return found
    _check_model(site, update, "'update'", "a model, a list of models or a record of models", describe(update))
    raise AssertionError("a model was handled above")


def gathered(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results by name, those of one list as the list that it was."""
    found: dict[str, Any] = {}
    for name, value in results.items():
        key, bracket, _ = name.partition("[")
        found[key] = [*found.get(key, []), value] if bracket else value
    return found


def _taken_apart(update: Record) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in update.items():
        is_list = isinstance(value, list) and value
        found |= {f"{name}[{i}]": each for i, each in enumerate(value)} if is_list else {name: value}
    return found


def _check_model(site: CallSite, value: Any, what: str, expected: str, got: str) -> None:
    if isinstance(value, Fitted):
        fitted = f"a fitted {value.name}, which is no model,"
        raise faults.only_in_traced_code(fitted, site.at("update"), "the functions given to map and measure")
    if not isinstance(value, Model):
        raise faults.wrong_kind(what, expected, got, site.at("update"))


def _check_once(site: CallSite, models: Sequence[Model]) -> None:
    for number, model in enumerate(models):
        if any(model.identity == each.identity for each in models[:number]):
            text = f"'update' has '{model_name(model)}' twice"
            raise faults.wrong_value(text, site.at("update"), "a model learns once in a step: leave one out")


def _named(models: Sequence[Model]) -> dict[str, Model]:
    """Models under their own names, numbered where one name is that of several."""
    named: dict[str, Model] = {}
    for model in models:
        name = model_name(model)
        named[name if name not in named else f"{name}_{len(named) + 1}"] = model
    return named
