"""Optimizers and schedules: descriptions that a `train` reads."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults, weight_faults
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.settings import number, rates
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.groups import group_settings
from etude.compiler.values import Quantity, Setting, describe


def _betas(site: CallSite, value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2:
        raise faults.wrong_kind("'betas'", "a list of two numbers", describe(value), site.at("betas"))
    found = [number(site, "betas", item) for item in value]
    if not all(0 <= beta < 1 for beta in found):
        text = f"'betas' are shares that averages keep, from 0 to below 1, got {found[0]:g} and {found[1]:g}"
        raise faults.wrong_value(text, site.at("betas"))
    return found


def _paced(site: CallSite, **values: Any) -> dict[str, float]:
    """The numbers of an optimizer whose steps are about `lr` long, whatever the gradient is."""
    found = rates(site, **values)
    if found["lr"] >= 1:
        place = site.session.place(site.at("lr"))
        site.session.diagnostics.add(weight_faults.long_steps(site.name, found["lr"], place))
    return found


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
    """AdamW (Loshchilov and Hutter, 2019): Adam, and weights decay by themselves. `betas` are [0.9, 0.999].

    `groups` is a list of records {at, lr, weight_decay}: what differs for the weights whose paths a glob names.
    """
    fields = _paced(site, lr=lr, weight_decay=weight_decay, eps=eps)
    more = {"betas": _betas(site, betas or [0.9, 0.999]), **group_settings(site, groups, fields)}
    return Setting("optimizer", {"name": "adamw", **fields, **more})


@builtin
def adam(site: CallSite, lr: Any = 1e-3, betas: Any = None, eps: Any = 1e-8, *, groups: Any = None) -> Setting:
    """Adam (Kingma and Ba, 2015). `betas` are [0.9, 0.999]; `groups` as for `adamw`."""
    fields = _paced(site, lr=lr, eps=eps)
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
    """Stochastic gradient descent with momentum (Polyak, 1964), or Nesterov's; `groups` as for `adamw`."""
    fields = rates(site, lr=lr, momentum=momentum, weight_decay=weight_decay)
    more = group_settings(site, groups, {name: fields[name] for name in ("lr", "weight_decay")})
    return Setting("optimizer", {"name": "sgd", **fields, "nesterov": bool(nesterov), **more})


@builtin
def rmsprop(
    site: CallSite,
    lr: Any = 1e-2,
    decay: Any = 0.9,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    eps: Any = 1e-8,
    *,
    groups: Any = None,
) -> Setting:
    """RMSprop (Tieleman and Hinton, 2012)."""
    fields = _paced(site, lr=lr, decay=decay, momentum=momentum, weight_decay=weight_decay, eps=eps)
    return _optimizer(site, "rmsprop", fields, groups)


@builtin
def lion(site: CallSite, lr: Any = 1e-4, weight_decay: Any = 0.0, betas: Any = None, *, groups: Any = None) -> Setting:
    """Lion (Chen et al., 2023): steps of one length, by the sign of a momentum."""
    fields = _paced(site, lr=lr, weight_decay=weight_decay)
    return _optimizer(site, "lion", fields, groups, betas=_betas(site, betas or [0.9, 0.99]))


@builtin
def lamb(
    site: CallSite,
    lr: Any = 1e-3,
    weight_decay: Any = 0.0,
    betas: Any = None,
    eps: Any = 1e-6,
    *,
    groups: Any = None,
) -> Setting:
    """LAMB (You et al., 2020): Adam for large batches, each step in proportion to its weight."""
    fields = rates(site, lr=lr, weight_decay=weight_decay, eps=eps)
    return _optimizer(site, "lamb", fields, groups, betas=_betas(site, betas or [0.9, 0.999]))


@builtin
def lars(
    site: CallSite,
    lr: Any = 1.0,
    momentum: Any = 0.9,
    weight_decay: Any = 0.0,
    trust: Any = 1e-3,
    *,
    groups: Any = None,
) -> Setting:
    """LARS (You et al., 2017): momentum for large batches, each step in proportion to its weight."""
    fields = rates(site, lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust)
    return _optimizer(site, "lars", fields, groups)


@builtin
def adafactor(site: CallSite, lr: Any = 1e-2, decay: Any = 0.8, min_size: Any = 128, *, groups: Any = None) -> Setting:
    """Adafactor (Shazeer and Stern, 2018): the second moments of matrices from `min_size` on by rows and columns."""
    fields: dict[str, Any] = rates(site, lr=lr, decay=decay)
    return _optimizer(site, "adafactor", {**fields, "min_size": plain_int(site, "min_size", min_size)}, groups)


def _optimizer(site: CallSite, name: str, fields: dict[str, Any], groups: Any, **more: Any) -> Setting:
    known: dict[str, float] = {field: fields[field] for field in ("lr", "weight_decay") if field in fields}
    return Setting("optimizer", {"name": name, **fields, **more, **group_settings(site, groups, known)})


def _warmup(site: CallSite, value: Any) -> dict[str, Any]:
    """A share of the budget, or a number of steps."""
    if isinstance(value, Quantity) and value.unit == "steps":
        return {"warmup": {"steps": value.value}}
    share = number(site, "warmup", value)
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
    return Setting("schedule", {"name": "cosine", **_warmup(site, warmup), "final": number(site, "final", final)})


@builtin
def linear_decay(site: CallSite, warmup: Any = 0.0, final: Any = 0.0) -> Setting:
    """Linear decay to `final` times the learning rate."""
    fields = {**_warmup(site, warmup), "final": number(site, "final", final)}
    return Setting("schedule", {"name": "linear_decay", **fields})


@builtin
def exponential(site: CallSite, warmup: Any = 0.0, final: Any = 0.01) -> Setting:
    """Exponential decay to `final` times the learning rate: each part of the budget divides it by the same number."""
    rate = number(site, "final", final)
    if not 0 < rate <= 1:
        raise faults.wrong_value("'final' of 'exponential' is more than 0 and at most 1", site.at("final"))
    return Setting("schedule", {"name": "exponential", **_warmup(site, warmup), "rate": rate})


@builtin
def step_decay(site: CallSite, at: Any = None, by: Any = 0.1, warmup: Any = 0.0) -> Setting:
    """The learning rate multiplied by `by` at each of the shares `at` of the budget."""
    shares = [0.5, 0.75] if at is None else at
    if not isinstance(shares, list) or not shares:
        text = "a list of shares of the budget, such as [50%, 75%]"
        raise faults.wrong_kind("'at' of 'step_decay'", text, describe(shares), site.at("at"))
    found = [_share(site, "at", share) for share in shares]
    return Setting(
        "schedule", {"name": "step_decay", **_warmup(site, warmup), "rate": number(site, "by", by), "at": found}
    )


@builtin
def one_cycle(site: CallSite, peak: Any = 0.3, start: Any = 0.04) -> Setting:
    """Up from `start` times the learning rate to all of it at `peak`, and down to 0 (Smith and Topin, 2019)."""
    share = _share(site, "peak", peak)
    if not 0 < share < 1:
        raise faults.wrong_value("'peak' is a share of the budget between 0 and 1", site.at("peak"), "write 30%")
    return Setting("schedule", {"name": "one_cycle", "peak": share, "start": number(site, "start", start)})


def _share(site: CallSite, name: str, value: Any) -> float:
    share = number(site, name, value)
    if not 0 <= share <= 1:
        raise faults.wrong_value(f"'{name}' is a share of the budget, between 0 and 1", site.at(name), "write 50%")
    return share
