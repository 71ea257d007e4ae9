"""Parts of a dataset by its classes."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.builtins.data import column_name, dataset, parts_of
from etude.compiler.builtins.each_split import on_each_split
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.schema import ColumnSchema
from etude.compiler.values import Dataset, Range, Record, describe


@on_each_split
@builtin
def split_classes(site: CallSite, data: Any, classes: Any, *, by: Any = None) -> Any:
    """The rows of each group of classes: `[[0, 1], [2, 3]]` gives a list of datasets, a record of groups a record.

    Labels stay what they are, so that a model for all classes fits every part.
    """
    d = dataset(site, data, "data")
    column = _label(site, d, by)
    groups = classes if isinstance(classes, Record) else {str(i): group for i, group in enumerate(_list(site, classes))}
    numbers = {name: [_number(site, item, column) for item in _list(site, group)] for name, group in groups.items()}
    every = [number for group in numbers.values() for number in group]
    for number in every:
        if every.count(number) > 1:
            raise faults.wrong_value(f"the class {number} is named twice in 'split_classes'", site.at("classes"))
    shares = {name: len(group) / max(column.classes or 1, 1) for name, group in numbers.items()}
    spec = {"stratify": None, "group": None, "seed": 0, "parts": [[name, share] for name, share in shares.items()]}
    made = parts_of(site, d, spec | {"classes": [column.name, list(numbers.values())]}, shares)
    return Record(made) if isinstance(classes, Record) else list(made.values())


def _list(site: CallSite, value: Any) -> list[Any]:
    if isinstance(value, Range):
        value = list(site.evaluator.items(value, site.at("classes")))
    if not isinstance(value, list) or not value:
        expected = "a list of groups of classes, such as [[0, 1], [2, 3]]"
        raise faults.wrong_kind("'classes' of 'split_classes'", expected, describe(value), site.at("classes"))
    return value


def _label(site: CallSite, d: Dataset, by: Any) -> ColumnSchema:
    name = column_name(site, d, by, "by")
    labels = [column for column in d.columns.values() if column.kind == "label" and name in (None, column.name)]
    if len(labels) != 1:
        text = f"'split_classes' needs one label column; the columns are {', '.join(d.columns)}"
        raise faults.wrong_value(text, site.location, 'say which: by = "label"')
    return labels[0]


def _number(site: CallSite, value: Any, column: ColumnSchema) -> int:
    """A class as its number: it is given so, or by its name."""
    count, names = column.classes or 0, list(column.class_names or ())
    if isinstance(value, str) and value in names:
        return names.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
        return value
    expected = f"a class of '{column.name}': 0 to {count - 1}"
    got = repr(value) if isinstance(value, int | str) else describe(value)
    raise faults.wrong_kind("'classes' of 'split_classes'", expected, got, site.at("classes"))
