"""Data that a function draws: so many rows, or a stream of them without an end."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.data import add_stage, function_argument
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.keys import canonical_program
from etude.compiler.lambdas import trace
from etude.compiler.made_columns import column_kind, computed_column, note_labels
from etude.compiler.slots import Inputs, SlotTable, warn_about_fresh
from etude.compiler.structure import digest
from etude.compiler.values import Dataset, Endless, Quantity, Record, describe
from etude.compiler.workflow import Ref

DEFAULT_BATCH = 64


@builtin
def generate(site: CallSite, count: Any, function: Any, *, seed: Any = None) -> Dataset:
    """A dataset of `count` rows, each what the function of no arguments returns: draws differ from row to row."""
    return generated(site, _drawn(site, function, seed), _rows(site, "count", count))


@builtin
def stream(site: CallSite, function: Any, *, seed: Any = None) -> Endless:
    """Rows without an end, each what the function of no arguments returns; row i is made of the seed and i alone.
    `train` takes as many as its budget says, `sample` a number of them."""
    return _drawn(site, function, seed)


def _rows(site: CallSite, name: str, value: Any) -> int:
    return plain_int(site, name, value.value if isinstance(value, Quantity) and value.unit == "examples" else value)


def _drawn(site: CallSite, function: Any, seed: Any) -> Endless:
    """The stage that draws rows, but for their number."""
    traced = trace(site, "generate", "row", function_argument(site, function, "function"), {})
    if not isinstance(traced.result, Record):
        what = f"the result of '{site.name}'"
        raise faults.wrong_kind(what, "a record of columns", describe(traced.result), site.at("function"))
    own = site.session.seed if seed is None else plain_int(site, "seed", seed)
    inputs = Inputs()
    slots = SlotTable(inputs, own)
    program = traced.to_json(slots)
    warn_about_fresh(site, slots)
    empty = Dataset(Ref("", "data"), {}, None)
    columns = {name: computed_column(name, value, empty) for name, value in traced.result.items()}
    note_labels(site, columns, traced.result)
    spec = {
        "program": program,
        "slots": slots.entries,
        "seed": own,
        "identity": digest(canonical_program(program)),
        "columns": [[c.name, [c.dtype, list(c.shape)], column_kind(c)] for c in columns.values()],
    }
    return Endless(columns, spec, inputs.refs)


def generated(site: CallSite, rows_of: Endless, count: int) -> Dataset:
    """The first `count` rows as a dataset."""
    shown = Dataset(Ref("", "data"), rows_of.columns, count)
    spec = {**rows_of.spec, "count": count}
    id = add_stage(site, "generate", spec, list(rows_of.refs), {"data": str(shown)}, f"{count} rows")
    return Dataset(Ref(id, "data"), rows_of.columns, count, "train", frozenset([id]))


def taken(site: CallSite, rows_of: Endless, size: Any, stratify: Any, per: Any, seed: Any) -> Dataset:
    """So many rows of a stream, always the same ones, and others than training sees."""
    for name, value in (("stratify", stratify), ("per", per)):
        if value is not None:
            raise faults.wrong_value(f"'{name}' of 'sample' has no meaning for a stream", site.name_of(name))
    if not isinstance(size, Quantity) or size.unit != "examples":
        got = str(size) if isinstance(size, Quantity | float | int) else describe(size)
        raise faults.wrong_kind("'size' of a part of a stream", "a number such as 1000examples", got, site.at("size"))
    own = int(digest(("part", rows_of.spec["seed"]))[:7], 16) if seed is None else plain_int(site, "seed", seed)
    return generated(site, Endless(rows_of.columns, {**rows_of.spec, "seed": own}, rows_of.refs), int(size.value))


def for_training(site: CallSite, on: Any, budget: Any, batch: Any) -> Any:
    """`on` of a `train` with as many rows of each stream as the budget takes."""
    streams = on.values() if isinstance(on, Record) else [on]
    if not any(isinstance(each, Endless) for each in streams):
        return on
    count = _needed(site, budget, batch)
    if isinstance(on, Endless):
        with site.session.named("stream"):
            return generated(site, on, count)
    made = {}
    for name, each in on.items():
        with site.session.named(name):
            made[name] = generated(site, each, count) if isinstance(each, Endless) else each
    return Record(made)


def _needed(site: CallSite, budget: Any, batch: Any) -> int:
    if not isinstance(budget, Quantity) or budget.unit not in ("steps", "examples"):
        got = "nothing" if budget is None else str(budget) if isinstance(budget, Quantity) else describe(budget)
        help = "a stream has no epochs: write budget = 1000steps"
        raise faults.wrong_kind("'budget' on a stream", "a number of steps or examples", got, site.at("budget"), help)
    rows = DEFAULT_BATCH if batch is None else plain_int(site, "batch", batch)
    return max(1, int(budget.value) * (rows if budget.unit == "steps" else 1))
