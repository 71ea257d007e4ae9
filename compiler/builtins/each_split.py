"""Stages that act on every part of a record of splits: `digits |> sample(10%)` on `digits.train` and `digits.test`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from msgspec.structs import replace

from etude.compiler import faults
from etude.compiler.builtins.table import REGISTRY
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.values import Dataset, Record, describe

F = TypeVar("F", bound=Callable[..., Any])


def is_splits(value: Any) -> bool:
    """Whether a value is a record of datasets."""
    return isinstance(value, Record) and bool(value) and all(isinstance(item, Dataset) for item in value.values())


def on_each_split(function: F) -> F:
    """Let a builtin whose first argument is `data` take a record of splits: the result is the record of its results."""
    name = function.__name__.removesuffix("_")
    registered = REGISTRY[name]

    @wraps(function)
    def acting(site: CallSite, *, data: Any, **settings: Any) -> Any:
        if not is_splits(data):
            return function(site, data, **settings)
        made = {}
        for split, part in data.items():
            with site.session.named(split):
                made[split] = function(site, part, **settings)
        return Record(made)

    REGISTRY[name] = replace(registered, function=acting)
    return function


def combined(session: Any, symbol: str, left: Record, right: Any, location: Location) -> Record | None:
    """`a + b` and `a - b` of records of splits, part by part; `a - d` takes the rows of a dataset from every part.
    None where these are other records."""
    from etude.compiler.builtins.data import subtract, union

    if not is_splits(left):
        return None
    if symbol == "-" and isinstance(right, Dataset):
        right = Record(dict.fromkeys(left, right))
    if not is_splits(right):
        if isinstance(right, Record):
            return None
        help = "take one of its parts: d.train + other" if isinstance(right, Dataset) else None
        raise faults.wrong_kind(f"'{symbol}' of a record of splits", "another one", describe(right), location, help)
    if set(left) != set(right):
        text = f"'{symbol}' needs equal parts: {', '.join(left)} and {', '.join(right)}"
        raise faults.wrong_value(text, location)
    made = {}
    for name, part in left.items():
        with session.named(name):
            made[name] = (union if symbol == "+" else subtract)(session, part, right[name], location)
    return Record(made)
