"""Which rows a `train` takes more often, or earlier: `weights` and `order`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.players import TrainTrace
from etude.compiler.values import Dataset, Record, Setting, describe

NUMBERS = ("float32", "int32", "bool")


def row_order(site: CallSite, streams: Mapping[str, Dataset], weights: Any, order: Any) -> dict[str, Any]:
    """The fields of the spec; none where rows come evenly, so that nothing else depends on this."""
    spec: dict[str, Any] = {}
    if weights is not None:
        given = {
            name: _column(site, streams, name, "weights", column)
            for name, column in _by_stream(site, streams, "weights", weights)
        }
        spec["weights"] = {name: given.get(name) for name in streams}
    if order is not None:
        orders = {
            name: _curriculum(site, streams, name, setting)
            for name, setting in _by_stream(site, streams, "order", order)
        }
        spec["order"] = {name: orders.get(name) for name in streams}
    return spec


def set_aside(streams: Mapping[str, Dataset], weights: Any, order: Any) -> dict[str, Dataset]:
    """The datasets with the columns that weigh and order their rows, which are then no inputs of a model."""

    def names(stream: str) -> set[Any]:
        given = [
            value if stream == "" or not isinstance(value, Record) else value.get(stream) for value in (weights, order)
        ]
        return {each.fields.get("column") if isinstance(each, Setting) else each for each in given}

    def marked(stream: str, dataset: Dataset) -> Dataset:
        found = [name for name in names(stream) if isinstance(name, str) and name in dataset.columns]
        columns = {name: replace(dataset.columns[name], aside=True) for name in found}
        return replace(dataset, columns={**dataset.columns, **columns}) if columns else dataset

    return {stream: marked(stream, dataset) for stream, dataset in streams.items()}


def row_tokens(streams: Mapping[str, Dataset], traced: TrainTrace) -> int | None:
    """How many tokens a row has: the length of the longest column of whole numbers that a loss reads."""
    read = {name for loss in traced.losses for name, _ in loss.sub.inputs}
    lengths = [
        column.shape[0]
        for stream, dataset in streams.items()
        for name, column in dataset.columns.items()
        if (f"{stream}.{name}" if stream else name) in read
        and column.kind == "tensor"
        and column.dtype == "int32"
        and len(column.shape) == 1
    ]
    return max(lengths, default=None)


def _by_stream(site: CallSite, streams: Mapping[str, Dataset], argument: str, value: Any) -> Iterator[tuple[str, Any]]:
    """One value for the only dataset; a record of them for several."""
    if set(streams) == {""}:
        yield "", value
        return
    if not isinstance(value, Record):
        text = f"a record for some of the datasets: {{{next(iter(streams))}: ...}}"
        raise faults.wrong_kind(f"'{argument}' of 'train'", text, describe(value), site.at(argument))
    for name, item in value.items():
        if name not in streams:
            raise faults.unknown_field(name, site.at(argument), list(streams), f"'{argument}'")
        yield name, item


def _curriculum(site: CallSite, streams: Mapping[str, Dataset], stream: str, setting: Any) -> dict[str, Any]:
    if not isinstance(setting, Setting) or setting.kind != "order":
        text = 'an order such as curriculum("difficulty")'
        raise faults.wrong_kind("'order' of 'train'", text, describe(setting), site.at("order"))
    return {**setting.fields, "column": _column(site, streams, stream, "order", setting.fields["column"])}


def _column(site: CallSite, streams: Mapping[str, Dataset], stream: str, argument: str, name: Any) -> str:
    """The name of a column with one number for each row."""
    columns = streams[stream].columns
    if not isinstance(name, str):
        raise faults.wrong_kind(f"'{argument}' of 'train'", "the name of a column", describe(name), site.at(argument))
    if name not in columns:
        raise faults.missing_column(name, site.at(argument), list(columns), "the dataset")
    column = columns[name]
    if column.kind != "tensor" or column.shape or column.dtype not in NUMBERS:
        text = f"the column '{name}' as '{argument}'"
        raise faults.wrong_kind(text, "one number for each row", str(column), site.at(argument))
    return name
