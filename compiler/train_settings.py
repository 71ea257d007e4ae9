"""The settings of a `train`, checked: durations, counts, optimizers, schedules."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.calls import CallSite
from etude.compiler.typing import is_float
from etude.compiler.values import Builtin, Dataset, Quantity, Setting, describe

DEFAULT_BUDGET = {"epochs": 20, "min_steps": 200}
DEFAULT_OPTIMIZER = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "betas": [0.9, 0.999]}


def setting(site: CallSite, kind: str, value: Any, default: dict[str, Any]) -> dict[str, Any]:
    if value is None:
        return default
    if not isinstance(value, Setting) or value.kind != kind:
        raise faults.wrong_kind(f"'{kind}' of 'train'", f"a {kind}", describe(value), site.at(kind))
    return dict(value.fields)


def optimizer(site: CallSite, value: Any) -> dict[str, Any]:
    return setting(site, "optimizer", value, DEFAULT_OPTIMIZER)


def positive(site: CallSite, name: str, value: Any) -> int:
    number = value.value if isinstance(value, Quantity) and value.unit == "examples" else value
    count = plain_int(site, name, number)
    if count < 1:
        raise faults.wrong_value(f"'{name}' must be at least 1, got {count}", site.at(name))
    return count


def number(site: CallSite, name: str, value: Any) -> float:
    if not is_float(value) or not isinstance(value, int | float):
        raise faults.wrong_kind(f"'{name}' of 'train'", "a number", describe(value), site.at(name))
    return float(value)


def budget(site: CallSite, value: Any) -> dict[str, Any]:
    if value is None:
        return dict(DEFAULT_BUDGET)
    return duration(site, "budget", value, ("epochs", "steps", "examples"))


def duration(site: CallSite, name: str, value: Any, units: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(value, Quantity) and value.unit in {"tokens", "seconds"} and value.unit not in units:
        raise faults.not_available(f"'{name}' in {value.unit}", site.at(name))
    if not isinstance(value, Quantity) or value.unit not in units:
        got = f"a quantity in {value.unit}" if isinstance(value, Quantity) else describe(value)
        help = f"write {value:g}epochs" if isinstance(value, int | float) and not isinstance(value, bool) else None
        expected = f"a duration in {', '.join(units)}"
        raise faults.wrong_kind(f"'{name}' of 'train'", expected, got, site.at(name), help)
    if value.value <= 0:
        raise faults.wrong_value(f"'{name}' must be more than 0, got {value}", site.at(name))
    return {value.unit: value.value}


def budget_text(budget: dict[str, Any]) -> str:
    return ", ".join(f"{value:g} {unit}" for unit, value in budget.items() if unit != "min_steps")


def keep_choice(site: CallSite, value: Any, valid: Dataset | None) -> str:
    if value is None:
        return "last"
    is_best = isinstance(value, Builtin) and value.name == "best"
    if not is_best and not (isinstance(value, Setting) and value.kind == "choice"):
        raise faults.wrong_kind("'keep' of 'train'", "best or last", describe(value), site.at("keep"))
    if is_best and valid is None:
        raise faults.wrong_value("keep = best needs valid", site.at("keep"), "give valid = a dataset")
    return "best" if is_best else "last"
