"""Trace the lambdas that stages are given: row functions of map, measure, filter; batch functions of train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Operand, StageProgram, Sub, Value
from etude.backends.program.serialize import program_digest, program_to_json
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.made_columns import label_place
from etude.compiler.naming import ALIKE, Names, unnamed
from etude.compiler.schema import ColumnSchema
from etude.compiler.slots import SlotTable
from etude.compiler.texts import TextRead, is_text
from etude.compiler.tracing import Frame, FrameKind, Origins, operand_of, tensor
from etude.compiler.values import AnyOrigin, Closure, Fitted, Record, Row, Tensor, TextColumn, describe
from etude.grammar import nodes


class TracedFunction(Struct, frozen=True):
    """A traced lambda: its program, whose weights, and what it returned."""

    sub: Sub
    origins: tuple[Origins, ...]
    result: Any
    uses_mode: bool
    hosted: Mapping[str, Fitted] = {}
    texts: Mapping[str, TextRead] = {}

    def to_json(self, slots: SlotTable, inputs: Names = ALIKE, outputs: Names = ALIKE) -> Any:
        """The program with its modules placed in a stage's slot table; known to keys by the names that the store has
        for some of its inputs and outputs."""
        modules = slots.modules(self.sub, self.origins)
        program = program_to_json(StageProgram(self.sub, modules))
        is_renamed = any(name != stored for name, stored in (*inputs.items(), *outputs.items()))
        return {**program, "digest": program_digest(unnamed(self.sub, inputs, outputs))} if is_renamed else program


def column_type(column: ColumnSchema, kind: FrameKind) -> TensorType:
    """The type of a column as a traced function sees it: a row, or the batch."""
    dtype: Any = "int32" if column.kind == "label" else column.dtype
    shape = tuple(column.shape)
    return TensorType(dtype, shape if kind == "row" else (b, *shape))


def trace(
    site: CallSite,
    name: str,
    kind: FrameKind,
    function: Any,
    columns: Mapping[str, ColumnSchema],
    *,
    training: bool = False,
    live: frozenset[AnyOrigin] | None = frozenset(),
    extras: Mapping[str, Any] | None = None,
    introduce: Callable[[Frame, Location], dict[str, Any]] | None = None,
    streams: Mapping[str, Mapping[str, ColumnSchema]] | None = None,
    gather: Any = None,
    hosts: bool = False,
) -> TracedFunction:
    """Trace `function` on the columns of a dataset.

    `extras` is the record of names that a `train` introduces, and `introduce` makes those of them that are inputs of
    the program. With `streams` the function sees a record of rows, one for each data set, with inputs `stream.column`.
    `gather` says which outputs the program has for what a measured function returned. With `hosts` it may ask
    estimators that are no models: they are asked before, and what they say are columns more.
    """
    session = site.session
    builder = Builder(name)
    frame = Frame(kind, builder, training, hosted={} if hosts else None, session=session)
    where = _function_location(function, site)
    if streams is None:
        row: Record = _row(frame, columns, "", _places(function, list(columns), columns, where))
        frame.row = row
    else:
        named = _places(function, list(streams), {}, where)
        row = Record({n: _row(frame, inner, f"{n}.", dict.fromkeys(inner, named[n])) for n, inner in streams.items()})
    if introduce is not None:
        extras = {**introduce(frame, where), **(extras or {})}
    outer, session.live = session.live, live
    try:
        with session.tracing(frame):

            def called(each: Any) -> Any:
                return site.evaluator.call(each, _arguments(each, row, extras, where), {}, where)

            if isinstance(function, dict):
                result = {key: called(each) for key, each in function.items()}
                outputs = [(key, _summed(frame, _outputs(frame, each, where, name))) for key, each in result.items()]
            else:
                result = called(function)
                outputs = _outputs(frame, result if gather is None else gather.outputs(result, row), where, name)
    finally:
        session.live = outer
    sub = _without_unused_inputs(builder.build(outputs))
    return TracedFunction(sub, tuple(frame.child_origins), result, frame.uses_mode, frame.hosted or {}, frame.texts)


def _summed(frame: Frame, outputs: Sequence[tuple[str, Operand]]) -> Operand:
    """The sum of the terms of a loss."""
    total, *rest = (value for name, value in outputs if not name.startswith("@"))
    for term in rest:
        (total,) = frame.builder.apply("add", [total, term])
    return total


def _row(frame: Frame, columns: Mapping[str, ColumnSchema], prefix: str, places: Mapping[str, Location]) -> Row:
    """The columns as inputs of the program, each with the place that names it; text is no tensor and stays outside."""
    cells: dict[str, Any] = {}
    for column in columns.values():
        if column.kind == "text":
            cells[column.name] = TextColumn(column.name, column.vocabulary)
        else:
            value = frame.builder.input(prefix + column.name, column_type(column, frame.kind))
            if column.vocabulary is not None:
                frame.vocabularies[value.id] = column.vocabulary
            cell = tensor(frame, value, places[column.name], column.classes)
            made = label_place(frame.session, column) if column.kind == "label" else None
            cells[column.name] = cell if made is None else replace(cell, made_at=made)
    return Row(cells, columns)


def _function_location(function: Any, site: CallSite) -> Location:
    if isinstance(function, dict):
        function = next(iter(function.values()))
    if isinstance(function, Closure) and not function.scope.is_library:
        return Location(function.scope.source, function.node.span)
    place: Location = site.session.place(site.location)
    return place


def _places(
    function: Any, names: Sequence[str], columns: Mapping[str, ColumnSchema], where: Location
) -> dict[str, Location]:
    """Where a lambda of the recipe names what it is given: in its pattern, or by its parameters; else `where`."""
    found = dict.fromkeys(names, where)
    if not isinstance(function, Closure) or function.scope.is_library or not function.parameters:
        return found
    first, second = function.parameters[0], function.parameters[1] if len(function.parameters) > 1 else None
    source = function.scope.source
    if isinstance(first, nodes.RecordPattern):
        return {**found, **{each.field: Location(source, each.span) for each in first.fields}}
    if isinstance(second, nodes.NamePattern | nodes.Parameter):
        targets = {name for name, column in columns.items() if column.kind == "label" or column.is_target}
        target = second.span
        return {name: Location(source, target if name in targets else first.span) for name in names}
    return dict.fromkeys(names, Location(source, first.span))


def _arguments(function: Any, row: Record, extras: Mapping[str, Any] | None, where: Location) -> list[Any]:
    """The arguments by the form of the lambda: `row`, `{columns}`, `(x, y)`, each with a last record for `extras`."""
    patterns = function.parameters if isinstance(function, Closure) else (None,)
    first, count = patterns[0] if patterns else None, len(patterns)
    if count == 0:
        return []
    more = [Record(extras)] if extras is not None else []
    if isinstance(first, nodes.RecordPattern) or (
        count == 1 + len(more) and isinstance(patterns[-1], nodes.RecordPattern)
    ):
        return [row, *more][:count]
    if count == 1:
        return [row]
    return [*_input_and_target(row, where), *more][:count]


def _input_and_target(row: Record, where: Location) -> list[Any]:
    if not isinstance(row, Row):
        raise faults.wrong_pattern("several data sets come as one record: ({labelled, unlabelled}) => ...", where)
    inputs, targets = row.non_targets, row.targets
    if len(inputs) != 1 or len(targets) != 1:
        text = f"(x, y) needs one input and one target column, but the columns are {', '.join(row)}"
        raise faults.wrong_pattern(text, where, "take the columns by name: ({image, label}) => ...")
    return [row[inputs[0]], row[targets[0]]]


def _outputs(frame: Frame, result: Any, where: Location, name: str) -> list[tuple[str, Operand]]:
    if isinstance(result, list):
        return [(field, operand_of(frame, value, where, f"'{field}'")) for field, value in result]
    if isinstance(result, Record):
        state = result.get("state")
        if isinstance(state, Record):
            if "loss" not in result:
                got = f"a record {{{', '.join(result)}}}"
                raise faults.wrong_kind("what a loss with state gives", "a record {loss, state}", got, where)
            carried = [(f"@state.{n}", operand_of(frame, v, where, f"'{n}'")) for n, v in state.items()]
            return [*_outputs(frame, result["loss"], where, name), *carried]
        handed = {field for field, value in result.items() if isinstance(value, TextColumn) and value.name == field}
        if name == "map":
            handed = {field for field, value in result.items() if is_text(value) or isinstance(value, str)}
        return [
            (field, operand_of(frame, value, where, f"'{field}'"))
            for field, value in result.items()
            if field not in handed
        ]
    if not isinstance(result, Tensor | int | float | bool):
        raise faults.wrong_kind(f"the result of the function given to '{name}'", "a tensor", describe(result), where)
    return [("", operand_of(frame, result, where, "the result"))]


def _without_unused_inputs(sub: Sub) -> Sub:
    """Columns that the function never looks at are no part of what it does."""
    used = {o.id for op in sub.ops for o in op.operands if isinstance(o, Value)}
    used |= {value.id for _, value in sub.outputs if isinstance(value, Value)}
    kept = tuple((name, value) for name, value in sub.inputs if value.id in used)
    return replace(sub, inputs=kept or sub.inputs[:1])


def scalar_outputs(traced: TracedFunction, what: str, where: Location) -> Sequence[str]:
    """The names of a traced function's outputs, each of which must be one number."""
    for name, value in traced.sub.outputs:
        if value.type.rank:
            label = f"{what} '{name}'" if name else what
            raise faults.not_a_scalar(label, str(value.type), where)
    return [name for name, _ in traced.sub.outputs]


def computed_outputs(traced: TracedFunction) -> tuple[TracedFunction, list[str]]:
    """The function without the outputs that are columns handed through under their own name, and those columns."""
    inputs = dict(traced.sub.inputs)
    kept = [name for name, value in traced.sub.outputs if inputs.get(name) == value]
    texts = [n for n, value in traced.result.items() if isinstance(value, TextColumn) and value.name == n]
    outputs = tuple((name, value) for name, value in traced.sub.outputs if name not in kept)
    sub = _without_unused_inputs(replace(traced.sub, outputs=outputs))
    return replace(traced, sub=sub), [*kept, *texts]
