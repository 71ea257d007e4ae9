"""Descriptions that stages read: optimizers, schedules, initialisers."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.table import REGISTRY, builtin
from etude.compiler.calls import CallSite
from etude.compiler.groups import group_settings
from etude.compiler.typing import is_float
from etude.compiler.values import Quantity, Setting, describe


def _number(site: CallSite, name: str, value: Any) -> float:
    if not is_float(value) or not isinstance(value, int | float):
        raise faults.wrong_kind(f"'{name}' of '{site.name}'", "a number", describe(value), site.at(name))
    return float(value)


def _numbers(site: CallSite, **values: Any) -> dict[str, float]:
    return {name: _number(site, name, value) for name, value in values.items()}


def _betas(site: CallSite, value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2:
        raise faults.wrong_kind("'betas'", "a list of two numbers", describe(value), site.at("betas"))
    return [_number(site, "betas", item) for item in value]


@builtin
def adamw(
    site: CallSite,
    lr: Any = 1e-3,
    weight_decay: Any = 0.01,
    betas: Any = None,
    eps: Any = 1e-8,
    *,
    groups: Any = None,
) -> Setting:
    """AdamW (Loshchilov and Hutter, 2019)."""
    fields = _numbers(site, lr=lr, weight_decay=weight_decay, eps=eps)
    more = {"betas": _betas(site, betas or [0.9, 0.999]), **group_settings(site, groups, fields)}
    return Setting("optimizer", {"name": "adamw", **fields, **more})


@builtin
def adam(site: CallSite, lr: Any = 1e-3, betas: Any = None, eps: Any = 1e-8, *, groups: Any = None) -> Setting:
    """Adam (Kingma and Ba, 2015)."""
    fields = _numbers(site, lr=lr, eps=eps)
    more = {"betas": _betas(site, betas or [0.9, 0.999]), **group_settings(site, groups, fields)}
    return Setting("optimizer", {"name": "adam", **fields, **more})


@builtin
def sgd(
    site: CallSite,
    lr: Any = 1e-2,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    nesterov: Any = False,
    *,
    groups: Any = None,
) -> Setting:
    """Stochastic gradient descent with momentum."""
    fields = _numbers(site, lr=lr, momentum=momentum, weight_decay=weight_decay)
    more = group_settings(site, groups, {name: fields[name] for name in ("lr", "weight_decay")})
    return Setting("optimizer", {"name": "sgd", **fields, "nesterov": bool(nesterov), **more})


def _warmup(site: CallSite, value: Any) -> dict[str, Any]:
    """A share of the budget, or a number of steps."""
    if isinstance(value, Quantity) and value.unit == "steps":
        return {"warmup_steps": value.value}
    share = _number(site, "warmup", value)
    if not 0 <= share <= 1:
        raise faults.wrong_value("'warmup' is a share of the budget, between 0 and 1", site.at("warmup"), "write 5%")
    return {"warmup": share}


@builtin
def constant(site: CallSite, warmup: Any = 0.0) -> Setting:
    """The learning rate as it is, after an optional warmup."""
    return Setting("schedule", {"name": "constant", **_warmup(site, warmup)})


@builtin
def cosine(site: CallSite, warmup: Any = 0.0, final: Any = 0.0) -> Setting:
    """Cosine annealing to `final` times the learning rate (Loshchilov and Hutter, 2017)."""
    return Setting("schedule", {"name": "cosine", **_warmup(site, warmup), "final": _number(site, "final", final)})


@builtin
def linear_decay(site: CallSite, warmup: Any = 0.0, final: Any = 0.0) -> Setting:
    """Linear decay to `final` times the learning rate."""
    fields = {**_warmup(site, warmup), "final": _number(site, "final", final)}
    return Setting("schedule", {"name": "linear_decay", **fields})


@builtin
def normal_init(site: CallSite, std: Any = 0.02) -> Setting:
    """Weights drawn from a normal distribution."""
    return Setting("initialiser", {"kind": "normal", "std": _number(site, "std", std)})


@builtin
def uniform_init(site: CallSite, low: Any = -0.05, high: Any = 0.05) -> Setting:
    """Weights drawn uniformly between two numbers."""
    return Setting("initialiser", {"kind": "uniform", **_numbers(site, low=low, high=high)})


@builtin
def constant_init(site: CallSite, value: Any = 0.0) -> Setting:
    """Weights that all start as one number."""
    return Setting("initialiser", {"kind": "constant", "value": _number(site, "value", value)})


for _name in ("lecun_normal", "he_normal", "xavier_normal", "lecun_uniform", "he_uniform", "xavier_uniform"):
    REGISTRY[_name] = Setting("initialiser", {"kind": _name})
REGISTRY["last"] = Setting("choice", {"name": "last"})
