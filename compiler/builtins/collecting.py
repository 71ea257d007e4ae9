"""Between values and datasets: `rows` makes a dataset of values, `column` and `collect` tensors of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from etude.backends.program.dims import b, evaluate
from etude.backends.program.types import DType, TensorType, promote
from etude.compiler import faults
from etude.compiler.arithmetic import expression
from etude.compiler.builtins.data import add_stage, column_name, dataset, function_argument, row_stage
from etude.compiler.builtins.reporting import with_inputs
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.lambdas import trace
from etude.compiler.measured import stage_of, type_of
from etude.compiler.naming import numbered, unnamed
from etude.compiler.schema import ColumnSchema
from etude.compiler.slots import Inputs
from etude.compiler.values import Dataset, Deferred, Measured, Record, Tensor, describe
from etude.compiler.workflow import Ref

SAME_ROWS = {"map", "drop", "shuffle", "predict", "relabel"}  # stages that have as many rows as their first input


@builtin
def collect(site: CallSite, data: Any, function: Any, *, seed: Any = None) -> Any:
    """The tensor of what a function makes of all rows, in their order; of a record a record of tensors."""
    d = dataset(site, data, "data")
    traced = trace(site, "collect", "row", function_argument(site, function, "function"), d.columns)
    places = numbered(traced.result) if isinstance(traced.result, Record) else {}
    traced = replace(traced, sub=unnamed(traced.sub, {}, places))
    spec, inputs = row_stage(site, d, traced, seed)
    length = _length(site, d)
    outputs = {_port(name): TensorType(value.type.dtype, (length, *value.type.shape)) for name, value in
               traced.sub.outputs}  # fmt: skip
    spec["rows"] = length if isinstance(length, int) else None
    id = add_stage(site, "collect", spec, inputs.refs, {port: f"Tensor[{kind}]" for port, kind in outputs.items()})
    rows = None if isinstance(length, int) else d.ref

    def tensor(name: str, value: Any) -> Measured:
        return Measured(outputs[_port(name)], Ref(id, _port(name)), 0, rows, getattr(value, "classes", None))

    if isinstance(traced.result, Record):
        return Record({name: tensor(places[name], value) for name, value in traced.result.items()})
    return tensor("", traced.result)


def _port(name: str) -> str:
    return f"tensor.{name}" if name else "tensor"


@builtin
def column(site: CallSite, data: Any, name: Any) -> Measured:
    """A column of a dataset as a tensor, in the order of its rows."""
    d = dataset(site, data, "data")
    found = column_name(site, d, name, "name")
    schema = d.columns[found] if found is not None else None
    if schema is None or schema.kind == "text":
        got = describe(name) if schema is None else "a column of text"
        raise faults.wrong_kind("'name' of 'column'", "a column of numbers", got, site.at("name"))
    length = _length(site, d)
    dtype: Any = "int32" if schema.kind == "label" else schema.dtype
    kind = TensorType(dtype, (length, *schema.shape))
    spec = {"column": found, "rows": length if isinstance(length, int) else None}
    id = add_stage(site, "column", spec, [d.ref], {"tensor": f"Tensor[{kind}]"}, str(found))
    return Measured(kind, Ref(id, "tensor"), 0, None if isinstance(length, int) else d.ref, schema.classes)


def _length(site: CallSite, d: Dataset) -> Any:
    """How many rows there are, where this is sure before the run; else `b`."""
    stage = site.session.stages.stages.get(d.ref.stage)
    while stage is not None and stage.kind in SAME_ROWS:
        stage = site.session.stages.stages.get(stage.inputs[0].stage)
    if stage is not None and stage.kind in {"rows", "generate"}:
        return int(stage.spec["count"])
    if stage is not None and stage.kind in {"sample", "top"} and "count" in stage.spec and not stage.spec.get("per"):
        return int(stage.spec["count"])
    return b


# --- datasets of values ---------------------------------------------------------------------------


@builtin
def rows(site: CallSite, values: Any) -> Dataset:
    """A dataset of a list of records: plain values, lists of numbers, and values known after the run."""
    if not isinstance(values, list) or not values or not all(isinstance(row, Record) and row for row in values):
        got = "an empty list" if values == [] else describe(values)
        raise faults.wrong_kind("'values' of 'rows'", "a list of records", got, site.at("values"))
    names = list(values[0])
    for number, row in enumerate(values):
        if set(row) != set(names):
            text = f"row {number} of 'rows' has {', '.join(row)}, the first has {', '.join(names)}"
            raise faults.wrong_value(text, site.at("values"), "give every row the same fields")
    columns = {name: _schema(site, name, [row[name] for row in values]) for name in names}
    inputs = Inputs()
    cells = [[_cell(site, row[name], inputs) for name in names] for row in values]
    shown = [[c.name, c.kind, c.dtype, list(c.shape)] for c in columns.values()]
    spec = {"schema": shown, "cells": cells, "count": len(values)}
    made = Dataset(Ref("", "data"), columns, len(values))
    id = add_stage(site, "rows", spec, inputs.refs, {"data": str(made)}, f"{len(values)} rows")
    return Dataset(Ref(id, "data"), columns, len(values), "train", frozenset([id]))


def _schema(site: CallSite, name: str, values: Sequence[Any]) -> ColumnSchema:
    """The type of a column, which all its values must fit."""
    kinds = [_type(site, name, value) for value in values]
    if kinds[0] == "text" or "text" in kinds:
        if any(kind != "text" for kind in kinds):
            text = f"the column '{name}' of 'rows' has strings and numbers"
            raise faults.wrong_value(text, site.at("values"))
        return ColumnSchema(name, "text", "text")
    types = [kind for kind in kinds if isinstance(kind, TensorType)]
    other = next((kind for kind in types if kind.shape != types[0].shape), None)
    if other is not None:
        text = f"the column '{name}' of 'rows' is {types[0]} in the first row and {other} in another"
        raise faults.wrong_value(text, site.at("values"), "give every row the same number of values")
    return ColumnSchema(
        name, "tensor", promote([kind.dtype for kind in types]), tuple(evaluate(dim, 1) for dim in types[0].shape)
    )


def _type(site: CallSite, name: str, value: Any) -> TensorType | str:
    if isinstance(value, str) or (isinstance(value, Deferred) and value.kind == "text"):
        return "text"
    if isinstance(value, Measured | Deferred):
        if isinstance(value, Measured) and value.rows is not None:
            raise faults.after_the_run(f"the shape of the column '{name}'", site.at("values"))
        return type_of(value)
    if isinstance(value, bool | int | float):
        dtype: DType = "bool" if isinstance(value, bool) else "int32" if isinstance(value, int) else "float32"
        return TensorType(dtype)
    if isinstance(value, list) and value:
        inner = [_type(site, name, item) for item in value]
        shapes = {kind.shape for kind in inner if isinstance(kind, TensorType)}
        if len(shapes) == 1 and "text" not in inner:
            dtype = promote([kind.dtype for kind in inner if isinstance(kind, TensorType)])
            return TensorType(dtype, (len(value), *shapes.pop()))
    expected = "a number, a string, a list of numbers, or a measured value"
    got = "a list of unequal parts" if isinstance(value, list) else describe(value)
    raise faults.wrong_kind(f"the column '{name}' of 'rows'", expected, got, site.at("values"))


def _cell(site: CallSite, value: Any, inputs: Inputs) -> Any:
    if isinstance(value, Measured):
        return ["tensor", inputs.index(stage_of(site, value))]
    if isinstance(value, Tensor):
        raise faults.wrong_kind("'rows'", "values of the workflow", describe(value), site.at("values"))
    return with_inputs(expression(value, site.at("values")), inputs)
