"""Tables and figures of the report."""

from __future__ import annotations

from functools import partial
from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import expression
from etude.compiler.builtins.data import add_stage, column_name, dataset
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.measured import as_lists, as_number, rows_of
from etude.compiler.naming import Names, columns_of, inverse
from etude.compiler.slots import Inputs
from etude.compiler.values import Deferred, Measured, Output, Quantity, Record, describe
from etude.compiler.workflow import Ref


def with_inputs(value: Any, inputs: Inputs) -> Any:
    """An expression with its ["ref", stage, port] leaves as indices of a stage's inputs."""
    if isinstance(value, dict):
        return {key: with_inputs(item, inputs) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 3 and value[0] == "ref":
            return ["input", inputs.index(Ref(value[1], value[2]))]
        return [with_inputs(item, inputs) for item in value]
    return value


def compute(site: CallSite, value: Deferred) -> Ref:
    """The output that holds a deferred value: the measured one itself, or a stage that computes it."""
    if isinstance(value.expression, list) and value.expression[0] == "ref":
        return Ref(value.expression[1], value.expression[2])
    inputs = Inputs()
    spec = {"expression": with_inputs(value.expression, inputs)}
    return Ref(add_stage(site, "compute", spec, inputs.refs, {"value": "Metric"}), "value")


@builtin
def table(site: CallSite, rows: Any) -> Output:
    """A table from a list of records of one form: numbers, texts and values known after the run."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Record) for row in rows):
        raise faults.wrong_kind("'rows' of 'table'", "a list of records", describe(rows), site.at("rows"))
    rows = [Record({name: _listed(site, value) for name, value in row.items()}) for row in rows]
    columns = list(rows[0])
    for row in rows:
        if list(row) != columns:
            text = f"the rows of a table need equal fields: {', '.join(columns)} and {', '.join(row)}"
            raise faults.wrong_value(text, site.at("rows"))
    inputs = Inputs()
    cells = expression([list(row.values()) for row in rows], site.location)
    spec = {"expression": with_inputs(cells, inputs), "columns": columns}
    id = add_stage(site, "table", spec, inputs.refs, {"table": "Table"}, ", ".join(columns))
    return Output("table", Ref(id, "table"))


def _listed(site: CallSite, value: Any) -> Any:
    """A measured tensor as lists of numbers, and a quantity as a text; anything else as it is."""
    if isinstance(value, Quantity):
        return str(value)
    return as_lists(site, value) if isinstance(value, Measured) else value


def shown(site: CallSite, name: str, value: Any, where: Location) -> Ref:
    """What the report shows under a name: tables, figures, numbers, texts; records and lists of these as tables."""
    if isinstance(value, Output) and value.kind in {"table", "figure"}:
        return value.ref
    value = as_number(site, value)
    if isinstance(value, Deferred):
        return compute(site, value)
    if isinstance(value, bool | int | float | str | Quantity):
        plain = _listed(site, value)
        return compute(site, Deferred(expression(plain, where), "text" if isinstance(plain, str) else "number"))
    if isinstance(value, Record) and value and _is_cell(*value.values()):
        return table(site, [value]).ref
    if isinstance(value, list) and value:
        rows = value if all(isinstance(row, Record) for row in value) else [Record({name: item}) for item in value]
        if all(_is_cell(*row.values()) for row in rows):
            return table(site, rows).ref
    help = {
        "history": "plot(m.history, y = ..) draws it",
        "tensor": "table([{x: t[0]}]), heatmap(t) or mean(t) show it",
    }
    kind = value.kind if isinstance(value, Output) else "tensor" if isinstance(value, Measured) else ""
    expected = "a table, a figure, a number, a text, or records of them"
    raise faults.wrong_kind(f"'{name}' in 'report'", expected, describe(value), where, help.get(kind))


def _is_cell(*values: Any) -> bool:
    return all(isinstance(value, Deferred | bool | int | float | str | Quantity) for value in values)


@builtin
def heatmap(site: CallSite, values: Any, *, rows: Any = None, columns: Any = None, x: Any = "", y: Any = "") -> Output:
    """A matrix of measured values as colours: a list of its rows, with names of rows and columns and of both axes."""
    if isinstance(values, Measured) and values.type.rank == 2:
        values = rows_of(site, values)
    if isinstance(values, list):
        values = [_listed(site, row) if isinstance(row, Measured) and row.type.rank == 1 else row for row in values]
    if not isinstance(values, list) or not all(isinstance(row, list | Deferred) for row in values):
        odd = [row for row in values if not isinstance(row, list | Deferred)] if isinstance(values, list) else []
        got = f"a list with {describe(odd[0])}" if odd else describe(values)
        expected = "a list of rows, or a measured matrix"
        raise faults.wrong_kind("'values' of 'heatmap'", expected, got, site.at("values"))
    names = {"rows": rows, "columns": columns}
    for name, given in names.items():
        if given is not None and not (isinstance(given, list) and all(isinstance(each, str) for each in given)):
            raise faults.wrong_kind(f"'{name}' of 'heatmap'", "a list of names", describe(given), site.at(name))
    for name, axis in {"x": x, "y": y}.items():
        if not isinstance(axis, str):
            raise faults.wrong_kind(f"'{name}' of 'heatmap'", "a string", describe(axis), site.at(name))
    if rows is not None and len(rows) != len(values):
        text = f"'heatmap' has {len(values)} rows and {len(rows)} names for them"
        raise faults.wrong_value(text, site.at("rows"))
    inputs = Inputs()
    spec = {"expression": with_inputs(expression(values, site.location), inputs), **names, "x": x, "y": y}
    label = " by ".join(axis for axis in (y, x) if axis)
    id = add_stage(site, "heatmap", spec, inputs.refs, {"figure": "Figure"}, label)
    return Output("figure", Ref(id, "figure"))


@builtin
def class_names(site: CallSite, data: Any, *, column: Any = None) -> list[str]:
    """The names of the classes of a dataset's label, or their numbers where they have none."""
    d = dataset(site, data, "data")
    labels = [name for name, each in d.columns.items() if each.kind == "label"]
    name = column_name(site, d, column, "column") if column is not None else labels[0] if len(labels) == 1 else None
    if name is None or d.columns[name].kind != "label":
        found = f"{len(labels) or 'none'} of them" if column is None else f"the column {d.columns[name or column]}"
        raise faults.wrong_kind(
            "'class_names'", "one label column", found, site.at("data" if column is None else "column")
        )
    schema = d.columns[name]
    return list(schema.class_names or map(str, range(schema.classes or 0)))


@builtin
def images(site: CallSite, data: Any, *, column: Any = "image", count: Any = 64) -> Output:
    """A grid of the first pictures of a dataset: a column of shape [height, width, channels]."""
    d = dataset(site, data, "data")
    name = column_name(site, d, column, "column")
    if name is None or len(d.columns[name].shape) not in {2, 3}:
        expected = "a column of images [height, width, channels]"
        raise faults.wrong_kind("'column' of 'images'", expected, str(d.columns.get(column)), site.at("column"))
    spec = {"column": name, "count": plain_int(site, "count", count)}
    id = add_stage(site, "images", spec, [d.ref], {"figure": "Figure"}, str(name))
    return Output("figure", Ref(id, "figure"))


@builtin
def plot(site: CallSite, *histories: Any, y: Any = None, x: Any = "epoch") -> Output:
    """Curves of columns of training histories."""
    inputs = Inputs()
    series: list[dict[str, Any]] = []
    called: list[Names] = []
    for index, history in enumerate(histories):
        if not isinstance(history, Output) or history.kind != "history":
            help = "write model.history, or t.history of a train"
            raise faults.wrong_kind("'plot'", "training histories", describe(history), site.at(index), help)
        names = columns_of(site.session.stages.stages[history.ref.stage].spec)
        series.append({"label": history.label, "input": inputs.index(history.ref)})
        called.append(names)
    if not series:
        raise faults.missing_argument("plot", "history", site.location)
    columns = [y] if isinstance(y, str) else y
    if columns is not None and not all(isinstance(name, str) for name in columns):
        raise faults.wrong_kind(
            "'y' of 'plot'", "a column of the history, or a list of them", describe(y), site.at("y")
        )
    spec: dict[str, Any] = {"series": series, "y": columns, "x": x}
    if any(name != stored for names in called for name, stored in names.items()):
        series = [*map(partial(_stored, columns, x), series, called)]
        spec = {"series": series, "y": None, "x": None, "shown": {"y": columns, "x": x}}
    id = add_stage(site, "plot", spec, inputs.refs, {"figure": "Figure"}, ", ".join(columns or ["loss"]))
    return Output("figure", Ref(id, "figure"))


def _stored(y: list[str] | None, x: str, series: dict[str, Any], names: Names) -> dict[str, Any]:
    """A series with what the store calls the columns of its history, none for one that it has not, and the way back."""
    columns = None if y is None else [names.get(name) for name in y]
    return {**series, "y": columns, "x": names.get(x), "names": inverse(names)}
