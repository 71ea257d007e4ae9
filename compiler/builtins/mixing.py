"""Datasets from datasets: mixtures, other orders, other labels, few-shot episodes."""

from __future__ import annotations

from typing import Any

from etude.compiler import faults
from etude.compiler.arithmetic import binary, is_number
from etude.compiler.builtins.data import add_stage, column_name, dataset, derived, joined_columns
from etude.compiler.builtins.each_split import is_splits, on_each_split
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.made_columns import note_labels
from etude.compiler.schema import ColumnSchema
from etude.compiler.values import Dataset, Quantity, Record, describe
from etude.compiler.workflow import Ref


@builtin
def mix(site: CallSite, data: Any, shares: Any = None, *, size: Any = None, seed: Any = None) -> Dataset:
    """Several datasets interleaved in fixed shares (equal ones by default), each in a random order.

    As long as no dataset runs out; with `size` so many rows, for which small ones are gone through again and again.
    """
    parts = _parts(site, data)
    weights = _shares(site, data, shares, len(parts))
    first, total = parts[0], sum(weights)
    columns = first.columns
    for other in parts[1:]:
        columns = joined_columns(Dataset(first.ref, columns, None), other, site.location, "mix")
    count = None if size is None else _examples(site, "size", size)
    rows = [d.rows * total / weight for d, weight in zip(parts, weights, strict=True) if d.rows is not None]
    guess = float(count) if count is not None else min(rows) if len(rows) == len(parts) else None
    spec = {"shares": [weight / total for weight in weights], "count": count, "seed": _seed(site, seed)}
    label = " / ".join(f"{weight / total:.0%}" for weight in weights)
    shown = Dataset(first.ref, columns, guess)
    id = add_stage(site, "mix", spec, [d.ref for d in parts], {"data": str(shown)}, label)
    return Dataset(Ref(id, "data"), columns, guess, first.role, frozenset().union(*(d.roots for d in parts)))


def _parts(site: CallSite, data: Any) -> list[Dataset]:
    if is_splits(data):
        return list(data.values())
    if not isinstance(data, list) or not data or not all(isinstance(d, Dataset) for d in data):
        expected = "a list or a record of datasets"
        raise faults.wrong_kind("'data' of 'mix'", expected, describe(data), site.at("data"), "mix([a, b], [70%, 30%])")
    return data


def _shares(site: CallSite, data: Any, shares: Any, count: int) -> list[float]:
    """The weights of the datasets, in their order; a record names them as the data does."""
    if shares is None:
        return [1.0] * count
    if isinstance(shares, Record):
        names = list(data) if isinstance(data, Record) else []
        for name in shares:
            if name not in names:
                raise faults.unknown_field(name, site.at("shares"), names, "the mixture")
        missing = [name for name in names if name not in shares]
        if missing:
            raise faults.wrong_value(f"'shares' of 'mix' says nothing of '{missing[0]}'", site.at("shares"))
        shares = [shares[name] for name in names]
    if not isinstance(shares, list) or len(shares) != count:
        got = f"{len(shares)} of them" if isinstance(shares, list) else describe(shares)
        raise faults.wrong_kind(
            "'shares' of 'mix'", f"a share for each of the {count} datasets", got, site.at("shares")
        )
    for share in shares:
        if not is_number(share) or not share > 0:
            got = f"{share:g}" if is_number(share) else describe(share)
            raise faults.wrong_kind("'shares' of 'mix'", "shares above 0%", got, site.at("shares"))
    return [float(share) for share in shares]


def _examples(site: CallSite, name: str, value: Any) -> int:
    number = value.value if isinstance(value, Quantity) and value.unit == "examples" else value
    count = plain_int(site, name, number)
    if count < 1:
        raise faults.wrong_value(f"'{name}' of '{site.name}' must be at least 1, got {count}", site.at(name))
    return count


def _seed(site: CallSite, value: Any) -> int:
    seed: int = site.session.seed if value is None else plain_int(site, "seed", value)
    return seed


@builtin
def union(site: CallSite, *data: Any) -> Any:
    """The rows of several datasets, or of the parts of several splits: `union(a, b)` or `union(list)`, as a + b."""
    parts = data[0] if len(data) == 1 and isinstance(data[0], list) else list(data)
    if not parts:
        raise faults.missing_argument("union", "data", site.location)
    for index, part in enumerate(parts):
        if not isinstance(part, Dataset) and not is_splits(part):
            place = site.at(index if len(data) > 1 else 0)
            raise faults.wrong_kind("'union'", "datasets, or a list of them", describe(part), place)
    whole = parts[0]
    for part in parts[1:]:
        whole = binary(site.session, "+", whole, part, site.location)
    return whole


@on_each_split
@builtin
def shuffle(site: CallSite, data: Any, seed: Any = None) -> Dataset:
    """The rows in a random order. Training has its own order: this is for what reads rows one after the other."""
    d = dataset(site, data, "data")
    return derived(site, "shuffle", {"seed": _seed(site, seed)}, d, d.rows)


@on_each_split
@builtin
def relabel(site: CallSite, data: Any, column: Any, *, classes: Any) -> Dataset:
    """A column as a label: its texts, numbers or classes are those of the list, and stand for their places in it."""
    d = dataset(site, data, "data")
    name = column_name(site, d, column, "column")
    assert name is not None
    old = d.columns[name]
    known = _classes(site, classes, old)
    label = ColumnSchema(name, "label", "int32", (), len(known), tuple(map(str, known)))
    columns = {**d.columns, name: label}
    note_labels(site, {name: label}, {})
    spec = {"column": name, "classes": known}
    if old.kind == "label" and isinstance(known[0], str):
        spec["classes"] = [list(old.class_names or ()).index(each) for each in known]
        spec["names"] = known
    made = Dataset(d.ref, columns, d.rows)
    id = add_stage(site, "relabel", spec, [d.ref], {"data": str(made)}, f"{name}: {len(known)} classes")
    return Dataset(Ref(id, "data"), columns, d.rows, d.role, d.roots)


def _classes(site: CallSite, classes: Any, old: ColumnSchema) -> list[Any]:
    place = site.at("classes")
    if not isinstance(classes, list) or not classes:
        raise faults.wrong_kind("'classes' of 'relabel'", "a list of texts or numbers", describe(classes), place)
    if old.kind == "tensor" and (old.dtype != "int32" or old.shape):
        expected = "a column of texts, ints or classes"
        raise faults.wrong_kind("'column' of 'relabel'", expected, f"{old.name}: {old}", site.at("column"))
    kind = str if old.kind == "text" or (old.kind == "label" and isinstance(classes[0], str)) else int
    for each in classes:
        if not isinstance(each, kind) or isinstance(each, bool):
            expected = "texts" if kind is str else "ints"
            raise faults.wrong_kind("'classes' of 'relabel'", expected, describe(each), place)
        if classes.count(each) > 1:
            raise faults.wrong_value(f"the class {each!r} stands twice in 'classes' of 'relabel'", place)
        if old.kind == "label" and not _is_class(each, old):
            known = ", ".join(map(str, old.class_names or (f"0 to {(old.classes or 1) - 1}",)))
            raise faults.wrong_value(f"'{old.name}' has no class {each!r}", place, f"its classes are {known}")
    return list(classes)


def _is_class(value: Any, label: ColumnSchema) -> bool:
    return value in (label.class_names or ()) if isinstance(value, str) else 0 <= value < (label.classes or 0)


@on_each_split
@builtin
def episodes(
    site: CallSite,
    data: Any,
    *,
    ways: Any,
    shots: Any,
    queries: Any,
    count: Any = None,
    label: Any = None,
    seed: Any = None,
) -> Dataset:
    """Few-shot tasks, one a row: `ways` classes with `shots` rows to learn from and `queries` others to be tested on.

    Each column `c` becomes `support_c` [ways * shots, ..] and `query_c` [ways * queries, ..], class after class; labels
    count the classes of the task from 0.
    """
    d = dataset(site, data, "data")
    target = _label_of(site, d, label)
    sizes = {name: _examples(site, name, v) for name, v in (("ways", ways), ("shots", shots), ("queries", queries))}
    if target.classes is not None and sizes["ways"] > target.classes:
        text = f"'ways' is {sizes['ways']}, but '{target.name}' has {target.classes} classes"
        raise faults.wrong_value(text, site.at("ways"))
    rows = 100 if count is None else _examples(site, "count", count)
    columns = _episode_columns(d, target, sizes)
    spec = {**sizes, "count": rows, "label": target.name, "seed": _seed(site, seed),
            "from": [c.name for c in d.columns.values() if c.kind == "tensor"]}  # fmt: skip
    text = f"{rows} of {sizes['ways']} ways, {sizes['shots']} shots"
    id = add_stage(site, "episodes", spec, [d.ref], {"data": str(Dataset(d.ref, columns, rows))}, text)
    return Dataset(Ref(id, "data"), columns, rows, d.role, d.roots)


def _label_of(site: CallSite, d: Dataset, label: Any) -> ColumnSchema:
    name = column_name(site, d, label, "label")
    labels = [c for c in d.columns.values() if c.kind == "label" and name in (None, c.name)]
    if len(labels) != 1:
        text = f"'episodes' needs one label column; the columns are {', '.join(d.columns)}"
        raise faults.wrong_value(text, site.at("data"), 'say which: label = "kind"')
    return labels[0]


def _episode_columns(d: Dataset, target: ColumnSchema, sizes: dict[str, int]) -> dict[str, ColumnSchema]:
    made: list[ColumnSchema] = []
    for side, each in (("support", sizes["shots"]), ("query", sizes["queries"])):
        rows = sizes["ways"] * each
        for c in d.columns.values():
            if c.kind == "tensor":
                made.append(ColumnSchema(f"{side}_{c.name}", "tensor", c.dtype, (rows, *c.shape)))
        is_target = side == "query"
        made.append(ColumnSchema(f"{side}_{target.name}", "tensor", "int32", (rows,), is_target=is_target))
    return {column.name: column for column in made}
