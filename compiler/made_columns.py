"""The columns that functions of rows make, and where the labels among columns were made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from etude.backends.program.dims import evaluate
from etude.backends.program.ir import Literal as Constant
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.schema import ColumnSchema
from etude.compiler.session import Session
from etude.compiler.values import Dataset, Tensor, TextColumn, TextValue, describe


def with_targets(
    site: CallSite, columns: dict[str, ColumnSchema], before: Dataset, target: Any
) -> dict[str, ColumnSchema]:
    """The columns that are to be predicted marked so: those named, or those whose namesakes were."""
    if target is None:
        named = [name for name, column in before.columns.items() if column.kind == "label" or column.is_target]
    else:
        named = target if isinstance(target, list) else [target]
        for name in named:
            if not isinstance(name, str):
                raise faults.wrong_kind("'target' of 'map'", "the name of a column", describe(name), site.at("target"))
            if name not in columns:
                raise faults.missing_column(name, site.at("target"), list(columns), "the result")
            if columns[name].kind == "text":
                text = f"the column '{name}' as 'target' of 'map'"
                raise faults.wrong_kind(text, "numbers or a label", str(columns[name]), site.at("target"))
    return {
        name: replace(column, is_target=column.kind == "tensor" and name in named) for name, column in columns.items()
    }


def computed_column(name: str, value: Any, d: Dataset) -> ColumnSchema:
    if isinstance(value, TextColumn):
        return replace(d.columns[value.name], name=name)
    if isinstance(value, TextValue | str):
        return ColumnSchema(name, "text", "text")
    if isinstance(value, Tensor):
        dtype, shape, classes = value.type.dtype, tuple(evaluate(dim, 1) for dim in value.type.shape), value.classes
    else:
        dtype, shape, classes = Constant(value).type.dtype, (), None
    if classes is None:
        return ColumnSchema(name, "tensor", dtype, shape)
    names = next((c.class_names for c in d.columns.values() if c.classes == classes and c.class_names), None)
    return ColumnSchema(name, "label", "int32", (), classes, names)


def column_kind(column: ColumnSchema) -> dict[str, Any]:
    if column.kind == "label":
        return {"kind": "label", "classes": column.classes, "names": column.class_names and list(column.class_names)}
    return {"kind": "tensor"}


def note_labels(site: CallSite, columns: Mapping[str, ColumnSchema], values: Mapping[str, Any]) -> None:
    """Remember where labels were made: where the tensor was that a function of rows returned, or by this call."""
    known = site.session.memo.setdefault("labels", {})
    for name, column in columns.items():
        if column.kind == "label":
            made = getattr(values.get(name), "made_at", None) or site.session.place(site.location)
            known[id(column)] = (column, made)  # with the column, so that its id stays its own


def label_place(session: Session, column: ColumnSchema) -> Location | None:
    """Where a label was made, if that is known."""
    known: Mapping[int, tuple[ColumnSchema, Location]] = session.memo.get("labels", {})
    return known[id(column)][1] if id(column) in known else None
