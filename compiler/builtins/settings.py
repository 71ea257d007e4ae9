"""Descriptions that stages read: initialisers and choices."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.table import REGISTRY, builtin
from etude.compiler.calls import CallSite
from etude.compiler.typing import is_float
from etude.compiler.values import Deferred, Setting, describe


def number(site: CallSite, name: str, value: Any) -> float:
    """A number that a description was given."""
    if isinstance(value, Deferred):
        raise faults.after_the_run(f"'{name}' of '{site.name}'", site.at(name))
    if not is_float(value) or not isinstance(value, int | float):
        raise faults.wrong_kind(f"'{name}' of '{site.name}'", "a number", describe(value), site.at(name))
    return float(value)


def numbers(site: CallSite, **values: Any) -> dict[str, float]:
    """Several of them, by name."""
    return {name: number(site, name, value) for name, value in values.items()}


def rates(site: CallSite, **values: Any) -> dict[str, float]:
    """Several numbers of an optimizer, none of which is below 0."""
    found = numbers(site, **values)
    for name, value in found.items():
        if value < 0:
            raise faults.wrong_value(f"'{name}' of '{site.name}' must not be below 0, got {value:g}", site.at(name))
    return found


@builtin
def normal_init(site: CallSite, std: Any = 0.02) -> Setting:
    """Weights drawn from a normal distribution."""
    return Setting("initialiser", {"kind": "normal", "std": number(site, "std", std)})


@builtin
def uniform_init(site: CallSite, low: Any = -0.05, high: Any = 0.05) -> Setting:
    """Weights drawn uniformly between two numbers."""
    return Setting("initialiser", {"kind": "uniform", **numbers(site, low=low, high=high)})


@builtin
def constant_init(site: CallSite, value: Any = 0.0) -> Setting:
    """Weights that all start as one number."""
    return Setting("initialiser", {"kind": "constant", "value": number(site, "value", value)})


for _name in ("lecun_normal", "he_normal", "xavier_normal", "lecun_uniform", "he_uniform", "xavier_uniform"):
    REGISTRY[_name] = Setting("initialiser", {"kind": _name})
for _name in ("last", "auto"):
    REGISTRY[_name] = Setting("choice", {"name": _name})
