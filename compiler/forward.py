"""A model as a program of its own: what one row of its inputs comes to, for those who take a model out of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.backends.program.dims import b, evaluate
from etude.backends.program.types import TensorType
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location, RecipeError
from etude.compiler.faults import Poisoned
from etude.compiler.instances import input_names
from etude.compiler.keys import canonical_program
from etude.compiler.lambdas import trace
from etude.compiler.models import call_model, traced_model
from etude.compiler.schema import ColumnSchema
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.structure import digest
from etude.compiler.tokenized import text_inputs
from etude.compiler.values import AnyOrigin, Builtin, Model, Record
from etude.compiler.workflow import Stage

if TYPE_CHECKING:
    from etude.compiler.session import Session

Json = Any
OUTPUT = "output"
"""What the result of a model is called that gives one tensor."""


def forward_program(
    session: Session, name: str, model: Model, paths: Mapping[AnyOrigin, str], location: Location
) -> Json | None:
    """The row program of a model in evaluation, with the types and names of its inputs, as JSON.

    Slot i of the program's `spec` holds the weight at `weights[i]`. None for a model that was called on nothing, or
    not on a batch of rows.
    """
    types = _row_types(session, model)
    if types is None:
        return None
    stages = list(_upstream(session, paths))
    columns = _named(input_names(model)[: len(types)], types, stages)  # inputs with a default may be left out
    site = CallSite(session.evaluator, location, {}, name, False)

    def call(site: CallSite, row: Record) -> Any:
        result = call_model(session, model, [row[column.name] for column in columns], location, session.evaluator)
        return result if isinstance(result, Record) else Record({OUTPUT: result})

    function = Builtin(name, call, (("row", False),))
    try:
        with session.from_top(session.seed):
            traced = trace(site, name, "row", function, {column.name: column for column in columns})
    except (RecipeError, Poisoned):
        return None
    slots = SlotTable(Inputs(), session.seed)
    program = traced.to_json(slots)
    if not all(origin in paths for origin in slots.origins):
        return None
    entries = [{**entry, "source": {"input": 0, "index": i}} for i, entry in enumerate(slots.entries)]
    return {
        "name": name,
        "inputs": [[c.name, c.dtype, list(c.shape)] for c in columns],
        "outputs": [[path, value.type.dtype, list(value.type.shape)] for path, value in traced.sub.outputs],
        "classes": _classes(session, stages, [value.type for _, value in traced.sub.outputs]),
        "texts": text_inputs(columns, stages, session.stages.stages),
        "weights": [paths[origin] for origin in slots.origins],
        "spec": {
            "program": program,
            "slots": entries,
            "seed": session.seed,
            "identity": digest(canonical_program(program)),
        },
    }


def _row_types(session: Session, model: Model) -> list[TensorType] | None:
    """The types of a row of each input, as the model was last called."""
    traced = traced_model(session, model)
    types = [value.type for _, value in traced.sub.inputs] if traced else []
    if not types or not all(type.shape[:1] == (b,) for type in types):
        return None
    rows = [type.with_shape(type.shape[1:]) for type in types]
    return rows if all(isinstance(dim, int) for type in rows for dim in type.shape) else None


def _upstream(session: Session, paths: Mapping[AnyOrigin, str]) -> Iterator[Stage]:
    """The stages that shaped the weights, nearest first."""
    refs = [origin.ref for origin in paths if hasattr(origin, "ref")]
    waiting = sorted({ref.stage for ref in refs}, key=_number, reverse=True)
    seen = set(waiting)
    while waiting:
        stage = session.stages.stages[waiting.pop(0)]
        yield stage
        before = {ref.stage for ref in stage.inputs} - seen
        seen |= before
        waiting += sorted(before, key=_number, reverse=True)


def _number(id: str) -> int:
    return int(id[1:])


def _named(names: Sequence[str], types: Sequence[TensorType], stages: Sequence[Stage]) -> list[ColumnSchema]:
    """The inputs as columns: under the column's name where only one that was trained on has the type."""
    known: dict[str, TensorType] = {}
    for stage in stages:
        if stage.kind == "train":
            known |= {name: type for name, type in _read_columns(stage) if name not in known}
    result: list[ColumnSchema] = []
    for name, type in zip(names, types, strict=True):
        taken = {column.name for column in result}
        fitting = [column for column, kind in known.items() if kind == type and column not in taken]
        chosen = name if name in fitting or len(fitting) != 1 else fitting[0]
        result.append(ColumnSchema(chosen, "tensor", type.dtype, tuple(evaluate(dim, 1) for dim in type.shape)))
    return result


def _read_columns(stage: Stage) -> Iterator[tuple[str, TensorType]]:
    """The columns that the losses of a training read, without the names of its streams, each as a row."""
    for step in stage.spec["steps"]:
        for name, _, (dtype, shape) in step["loss"]["subs"][-1]["inputs"]:
            if not name.startswith("@") and all(isinstance(dim, int) for dim in shape[1:]):
                yield name.rpartition(".")[2], TensorType(dtype, tuple(shape[1:]))


def _classes(session: Session, stages: Sequence[Stage], outputs: Sequence[TensorType]) -> Json | None:
    """The label whose classes a model with one score for each tells: its name, and those of the classes."""
    if len(outputs) != 1 or len(outputs[0].shape) != 1 or outputs[0].dtype != "float32":
        return None
    count = outputs[0].shape[0]
    read = {name for stage in stages if stage.kind == "train" for name, _ in _read_columns(stage)}
    read |= {stage.spec["target"] for stage in stages if stage.kind == "fit"}
    for stage in stages:
        for name, classes, names in _labels(session, stage):
            if classes == count and name in read:
                return {"column": name, "names": names}
    return None


def _labels(session: Session, stage: Stage) -> Iterator[tuple[str, int, list[str] | None]]:
    for name, _, kind in stage.spec.get("columns", ()) if stage.kind == "map" else ():
        if kind["kind"] == "label":
            yield name, kind["classes"], kind["names"]
    for ref, columns in session.sources.items():
        for column in columns.values() if ref.stage == stage.id else ():
            if column.kind == "label":
                names = None if column.class_names is None else list(column.class_names)
                yield column.name, column.classes or 0, names
