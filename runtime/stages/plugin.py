"""`plugin`: what a Python function of others makes of the rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etude.compiler.builtins.plugins import installed, loaded
from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array
from etude.runtime.rows import column_schema
from etude.runtime.stages import Job, Result, StageError, data_result


def execute(job: Job) -> Result:
    """Call the function with all columns; what it returns must be what it declares. Raises `StageError`."""
    dataset, spec = job.dataset(0), job.spec
    name = f"plugin.{spec['plugin']}.{spec['function']}"
    function = _function(spec, name)
    columns = {each: dataset.column(each) for each in dataset.columns}
    try:
        found = function(columns, **spec["settings"])
    except Exception as error:
        raise StageError(f"'{name}' failed: {type(error).__name__}: {error}") from error
    made = {"distribution": f"{spec['distribution']} {spec['version']}", "opaque": True}
    if spec["columns"] is None:
        return Result({"value": job.store.objects.put_json(_number(name, found))}, made=made)
    schemas = [column_schema(*column) for column in spec["columns"]]
    arrays = {schema.name: _column(name, schema, found, dataset.rows) for schema in schemas}
    result = data_result(dataset.keep([]).with_columns(schemas, arrays))
    return Result(result.outputs, result.objects, {**made, "rows": dataset.rows})


def _function(spec: Mapping[str, Any], name: str) -> Any:
    entry = installed().get(spec["plugin"])
    if entry is None:
        raise StageError(f"the plug-in '{spec['plugin']}' is not installed here")
    plugin = loaded(spec["plugin"], entry)
    if (plugin.distribution, plugin.version) != (spec["distribution"], spec["version"]):
        text = f"{spec['distribution']} {spec['version']}, got {plugin.distribution} {plugin.version}"
        raise StageError(f"'{name}': expected {text}", hint="run again")
    return plugin.functions[spec["function"]]


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise StageError(f"'{name}': expected a number, got {type(value).__name__}")
    return float(value)


def _column(name: str, schema: ColumnSchema, found: Any, rows: int) -> Array:
    if not isinstance(found, Mapping) or schema.name not in found:
        got = f"the columns {', '.join(found)}" if isinstance(found, Mapping) else type(found).__name__
        raise StageError(f"'{name}': expected the column {schema.name}, got {got}")
    values = np.asarray(found[schema.name])
    if values.shape != (rows, *schema.shape):
        text = f"expected {schema} for each of {rows} rows, got the shape {list(values.shape)}"
        raise StageError(f"'{name}': column \"{schema.name}\": {text}")
    if schema.kind == "text":
        return values.astype(object)
    dtype = "int32" if schema.kind == "label" else schema.dtype
    kinds = {"float32": "fiu", "int32": "iu", "bool": "b"}[dtype]
    if len(values) and values.dtype.kind not in kinds:
        raise StageError(f"'{name}': column \"{schema.name}\": expected {schema}, got {values.dtype}")
    if schema.kind == "label":
        from etude.runtime.rows import check_classes

        check_classes(schema, values)
    return values.astype(dtype)
