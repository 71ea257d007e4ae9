"""Measuring, repeating over seeds, and comparing."""

from __future__ import annotations

from typing import Any

from etude.compiler import claim_faults, faults
from etude.compiler.arithmetic import expression
from etude.compiler.builtins.data import add_stage, column_name, dataset, function_argument, row_member
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.confidence import expanded_level, fewest_runs
from etude.compiler.gathering import Gathered, has_fields
from etude.compiler.lambdas import scalar_outputs, trace
from etude.compiler.members import RowStage, shared
from etude.compiler.typing import is_float
from etude.compiler.values import Dataset, Deferred, describe


@builtin
def measure(site: CallSite, on: Any, function: Any, *, by: Any = None, seed: Any = None) -> Any:
    """What the function returns for each row, over all rows: numbers are averaged, metrics of sets are computed.

    `{value, weight}` is a weighted mean; `by` a label column: a list with the mean of each class.
    """
    d = dataset(site, on, "on")
    call = function_argument(site, function, "function")
    column = None if by is None else _label_column(site, d, by)

    def traced() -> RowStage:
        gathered = Gathered(column)
        traced = trace(site, "measure", "row", call, d.columns, gather=gathered, hosts=True)
        scalar_outputs(gathered.averaged_only(traced), "a measured value", site.at("function"))
        fields = {"fields": list(traced.result)} if has_fields(traced.result) else {}
        return row_member(site, d, traced, seed, (gathered, traced.result), {**gathered.spec(), **fields})

    made = shared(site, d, call, (column, seed), traced)
    gathered, returned = made.traced
    id = add_stage(site, "measure", made.spec, made.inputs.refs, gathered.ports(returned), d.role)
    classes = None if by is None else d.columns[by].classes
    return gathered.result(returned, ["ref", id, "value"], classes)


def _label_column(site: CallSite, d: Dataset, by: Any) -> str:
    name = column_name(site, d, by, "by")
    if name is None or d.columns[name].kind != "label":
        raise faults.wrong_kind("'by' of 'measure'", "a label column", f"the column {d.columns[by]}", site.at("by"))
    return name


@builtin
def runs(site: CallSite, seeds: Any, function: Any) -> list[Any]:
    """The function evaluated under each seed: the seed of every stage in it that was given none."""
    items = site.evaluator.items(seeds, site.at("seeds"))
    call = function_argument(site, function, "function")
    results = []
    level = site.session.extent.enter(len(items), len(site.session.stages.stages), are_alike=True)
    try:
        for seed in items:
            if not isinstance(seed, int) or isinstance(seed, bool):
                raise faults.wrong_kind("'seeds' of 'runs'", "a list of ints", describe(seed), site.at("seeds"))
            with site.session.seeded(seed), site.session.named(f"[seed={seed}]", group=True):
                results.append(site.evaluator.call(call, [seed][: _arity(call)], {}, site.at("function")))
            site.session.extent.done(level, len(site.session.stages.stages))
    finally:
        site.session.extent.leave()
    return results


def _arity(function: Any) -> int:
    return len(getattr(function, "parameters", (None,)))


def _is_repeated(runs: list[Any]) -> bool:
    """Whether all runs are one: a fixed number to compare with, or what was made outside of the seeds."""
    return all(run == runs[0] for run in runs[1:])


@builtin
def better(site: CallSite, first: Any, second: Any, *, confidence: Any = 0.95, lower: Any = False) -> Deferred:
    """Whether the first list of runs beats the second: a paired bootstrap over seeds."""
    for name, value in (("first", first), ("second", second)):
        if not isinstance(value, list) or not value:
            raise faults.wrong_kind(
                f"'{name}' of 'better'", "a list of measured numbers", describe(value), site.at(name)
            )
    if len(first) != len(second):
        text = f"'better' pairs runs by seed, but gets {len(first)} and {len(second)} of them"
        raise faults.wrong_value(text, site.location)
    if not is_float(confidence) or not 0.5 <= confidence < 1:
        raise faults.wrong_value("'confidence' is a share from 50% to below 100%", site.at("confidence"), "write 95%")
    if not isinstance(lower, bool):
        raise faults.wrong_kind("'lower' of 'better'", "true or false", describe(lower), site.at("lower"))
    settings = {"confidence": float(confidence), "lower": lower}
    sides = [expression(side, site.location) for side in (first, second)]
    if len(first) > 1 and all(_is_repeated(side) for side in (first, second)):
        site.session.diagnostics.add(claim_faults.same_runs(len(first), site.session.place(site.location)))
    elif expanded_level(len(first), float(confidence)) is None:
        enough = fewest_runs(float(confidence))
        place = site.session.place(site.location)
        site.session.diagnostics.add(claim_faults.few_runs(len(first), enough, float(confidence), place))
    return Deferred(["better", *sides, settings], "bool")
