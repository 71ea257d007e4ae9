"""The settings of a `train`, checked: durations, counts, optimizers, schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from etude.backends.program.microbatches import CoupledError, check_divisible
from etude.compiler import faults
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.calls import CallSite
from etude.compiler.players import TrainTrace
from etude.compiler.typing import is_float
from etude.compiler.values import Builtin, Dataset, Deferred, OperationValue, Quantity, Setting, describe

DEFAULT_BUDGET = {"epochs": 20, "min_steps": 200}
DEFAULT_OPTIMIZER = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "betas": [0.9, 0.999]}


def setting(site: CallSite, kind: str, value: Any, default: dict[str, Any]) -> dict[str, Any]:
    if value is None:
        return default
    if not isinstance(value, Setting) or value.kind != kind:
        raise faults.wrong_kind(
            f"'{kind}' of 'train'", f"{'an' if kind[0] in 'aeio' else 'a'} {kind}", describe(value), site.at(kind)
        )
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
    if isinstance(value, Deferred):
        raise faults.after_the_run(f"'{name}' of 'train'", site.at(name))
    if not is_float(value) or not isinstance(value, int | float):
        raise faults.wrong_kind(f"'{name}' of 'train'", "a number", describe(value), site.at(name))
    return float(value)


def budget(site: CallSite, value: Any, row_tokens: Callable[[], int | None]) -> dict[str, Any]:
    """The field of the spec. Tokens become rows: all rows have the same number of them, which `row_tokens` tells."""
    if value is None:
        return dict(DEFAULT_BUDGET)
    if not (isinstance(value, Quantity) and value.unit == "tokens"):
        return duration(site, "budget", value, ("epochs", "steps", "examples", "tokens", "seconds"))
    count = row_tokens()
    if count is None:
        text = "a budget in tokens needs a loss that reads a column of tokens"
        raise faults.wrong_value(text, site.at("budget"), "make one with tokenize(d, tok, length), or write 3epochs")
    tokens = duration(site, "budget", value, ("tokens",))["tokens"]
    return {"examples": -(-int(tokens) // count)}


def patience_of(site: CallSite, value: Any, every: Mapping[str, Any]) -> Any:
    """The field of the spec: a number of validations, or a duration in another unit than that between validations."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return positive(site, "patience", value)
    if not isinstance(value, Quantity):
        expected = "a number of validations, or a duration such as 3epochs"
        raise faults.wrong_kind("'patience' of 'train'", expected, describe(value), site.at("patience"))
    found = duration(site, "patience", value, ("epochs", "steps", "examples"))
    ((unit, amount),) = found.items()
    if unit not in every:
        return found
    return max(1, math.ceil(Fraction(str(amount)) / Fraction(str(every[unit]))))


def duration(site: CallSite, name: str, value: Any, units: tuple[str, ...]) -> dict[str, Any]:
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
    name = value.name if isinstance(value, Builtin | OperationValue) else None
    if isinstance(value, Setting) and value.kind == "choice":
        name = value.fields["name"]
    if name not in {"best", "last", "all"}:
        raise faults.wrong_kind("'keep' of 'train'", "best, last or all", describe(value), site.at("keep"))
    if name == "best" and valid is None:
        raise faults.wrong_value("keep = best needs valid", site.at("keep"), "give valid = a dataset")
    return name


def held_out(site: CallSite, on: Mapping[str, Dataset] | None, valid: Mapping[str, Dataset]) -> Mapping[str, Dataset]:
    """Held-out data in the form of the data that is trained on, where that is known: one dataset, or a record."""
    if on is None or ("" in on) == ("" in valid):
        return valid
    expected = "one dataset, as 'on'" if "" in on else f"a record of datasets by the names of 'on': {', '.join(on)}"
    got = "a dataset" if "" in valid else f"a record of {', '.join(valid)}"
    raise faults.wrong_kind("'valid' of 'train'", expected, got, site.at("valid"))


def needs_valid(site: CallSite, **given: Any) -> None:
    """Settings that say how to look at held-out data, where there is none."""
    for name, value in given.items():
        if value is not None:
            raise faults.wrong_value(f"'{name}' needs valid", site.name_of(name), "give valid = a dataset")


def clipping(site: CallSite, value: Any) -> float | None:
    if value is None:
        return None
    norm = number(site, "clip", value)
    if norm <= 0:
        raise faults.wrong_value(
            f"'clip' is the largest norm of a gradient, more than 0, got {norm:g}", site.at("clip")
        )
    return norm


def accumulation(site: CallSite, value: Any, traced: TrainTrace) -> dict[str, Any]:
    """The field of the spec: in how many parts a batch is taken. "auto" leaves it to the run, and a loss in which rows
    meet is then computed on the whole batch."""
    is_auto = isinstance(value, Setting) and value.kind == "choice" and value.fields["name"] == "auto"
    least = 1 if value is None else None if is_auto else positive(site, "accumulate", value)
    if least == 1:
        return {}
    reason = "a state is handed from step to step" if traced.state else None
    try:
        for loss in traced.losses:
            check_divisible(loss.sub)
    except CoupledError as error:
        reason = str(error)
    if reason is not None and least is not None:
        text = f"this batch cannot be taken in parts: {reason}"
        help = "'accumulate' is for losses that are means over rows; use accumulate = auto, or a smaller batch"
        raise faults.wrong_value(text, site.at("accumulate"), help)
    return {} if reason is not None else {"accumulate": least or "auto"}


def needs_score(site: CallSite, spec: Mapping[str, Any]) -> None:
    """With several players no loss says alone which weights are best."""
    for name in ("keep", "patience"):
        if spec[name] not in {None, "last", "all"}:
            text = f"'{name}' with several players needs a 'score'"
            raise faults.wrong_value(text, site.at(name), "give score = row => e: the highest mean wins")


def check_time(site: CallSite, spec: Mapping[str, Any]) -> None:
    """With a budget of time nobody knows the number of steps."""
    if "seconds" not in spec["budget"]:
        return
    if isinstance(spec["schedule"].get("warmup"), Mapping):
        raise faults.wrong_value("with a budget of time a warmup is a share of it", site.at("schedule"), "write 5%")
    if "order" in spec:
        raise faults.wrong_value(
            "'order' needs a budget that is not a time", site.at("order"), "write budget = 3epochs"
        )


def checkpoints(site: CallSite, spec: Mapping[str, Any], every: Any) -> dict[str, Any]:
    """The field of the spec of `keep = all`: how many there are is known only where both are told in one unit."""
    if spec["keep"] != "all":
        return {}
    if spec["patience"] is not None:
        text = "with 'patience' nobody knows how many checkpoints 'keep = all' gives"
        raise faults.wrong_value(text, site.at("keep"), "leave one of them out")
    period = {"epochs": 1} if every is None else duration(site, "valid_every", every, ("epochs", "steps"))
    ((unit, amount),) = period.items()
    if list(spec["budget"]) != [unit]:
        text = f"how many checkpoints 'keep = all' gives must be known: 'budget' and 'valid_every' both in {unit}"
        other = next((unit for unit in spec["budget"] if unit in {"epochs", "steps"}), None)
        given = f"give budget = 10{unit}" if other in {None, unit} else f"write valid_every = 100{other}"
        raise faults.wrong_value(text, site.at("keep"), given)
    exact = Fraction(str(spec["budget"][unit])) / Fraction(str(amount))
    return {"checkpoints": {"every": period, "count": max(1, math.ceil(exact))}}
