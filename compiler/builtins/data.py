"""Stages from data to data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

from msgspec.structs import replace

from etude.backends.program.dims import evaluate
from etude.compiler import faults
from etude.compiler.builtins.each_split import is_splits, on_each_split
from etude.compiler.builtins.scalars import plain_int
from etude.compiler.builtins.table import builtin
from etude.compiler.calls import CallSite
from etude.compiler.diagnostics import Location
from etude.compiler.keys import canonical_program
from etude.compiler.lambdas import TracedFunction, computed_outputs, scalar_outputs, trace
from etude.compiler.made_columns import column_kind, computed_column, note_labels, with_targets
from etude.compiler.members import RowStage
from etude.compiler.schema import ColumnSchema, Role
from etude.compiler.slots import Inputs, SlotTable, warn_about_fresh
from etude.compiler.structure import digest
from etude.compiler.suggestions import one_letter_off
from etude.compiler.texts import TextRead, text_outputs
from etude.compiler.typing import is_float, is_function
from etude.compiler.values import Dataset, Endless, Quantity, Record, describe
from etude.compiler.vocabularies import with_vocabulary
from etude.compiler.watch import current
from etude.compiler.workflow import Ref

Json = Any
ROLES = {"train", "valid", "test"}
SPLIT_SETTINGS = ("parts", "stratify", "group", "by", "role", "seed")


def add_stage(
    site: CallSite, kind: str, spec: dict[str, Any], inputs: list[Ref], outputs: dict[str, str], label: str = ""
) -> str:
    """A node of the graph, named after the bindings around the call. The id of the stage."""
    session = site.session
    session.asked += 1
    if session.frame is not None:
        raise faults.not_in_traced_code(f"'{site.name}'", site.location)
    place = session.place(site.location)
    name, line = session.stage_name(kind), place.source.position(place.span.start)[0]
    guards = () if session.guard is None else (session.guard,)
    about = {"name": name, "group": tuple(session.groups), "label": label, "line": line, "guards": guards}
    try:
        id: str = session.stages.add(kind, spec, inputs, outputs, **about)
    except OverflowError:
        session.work.stop()
        raise faults.too_many_stages(session.stages.limit, place) from None
    estimate = session.extent.too_many(len(session.stages.stages), session.stages.limit)
    if estimate is not None:
        session.work.stop()
        raise faults.too_many_stages(session.stages.limit, place, estimate)
    session.places.setdefault(id, place)
    watch = current()
    if watch is not None:
        watch.note(id, site)
    return id


def dataset(site: CallSite, value: Any, argument: str) -> Dataset:
    if is_splits(value):
        text = f"a record of datasets ({', '.join(value)})"
        help = f"take one of them: .{next(iter(value))}"
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", "a dataset", text, site.at(argument), help)
    if not isinstance(value, Dataset):
        part = "take a part of it: sample(s, 1000examples)" if isinstance(value, Endless) else None
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", "a dataset", describe(value), site.at(argument), part)
    return value


def function_argument(site: CallSite, value: Any, argument: str) -> Any:
    if not is_function(value):
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", "a function", describe(value), site.at(argument))
    return value


def derived(
    site: CallSite, kind: str, spec: dict[str, Any], source: Dataset, rows: float | None, label: str = ""
) -> Dataset:
    """A dataset with the columns of `source` made by a stage of one input."""
    id = add_stage(site, kind, spec, [source.ref], {"data": str(source)}, label)
    return Dataset(Ref(id, "data"), source.columns, rows, source.role, source.roots)


@builtin
def load(site: CallSite, uri: Any, **options: Any) -> Any:
    """A dataset, or a record of splits, by its address: `sklearn:digits`, `file.csv`, a folder, `hf:org/name`.

    Further arguments are options of the source, as `label = "species"` of a CSV file; `role` says what rows are for.
    """
    if not isinstance(uri, str):
        raise faults.wrong_kind("'uri' of 'load'", "a string", describe(uri), site.at("uri"))
    plain = {name: _option(site, name, value) for name, value in options.items()}
    schema = site.session.describe_source(uri, plain, site.at)
    columns = {column.name: column for column in schema.columns}
    role = plain.get("role", schema.role)
    if schema.splits:
        id = add_stage(site, "load", {"uri": uri, "options": plain}, [], dict.fromkeys(schema.splits, "Dataset"), uri)
        return Record({name: _loaded(site, Ref(id, name), columns, None, name if name in ROLES else role)
                       for name in schema.splits})  # fmt: skip
    made = Dataset(Ref("", "data"), columns, schema.rows, role)
    id = add_stage(site, "load", {"uri": uri, "options": plain}, [], {"data": str(made)}, uri)
    return _loaded(site, Ref(id, "data"), columns, schema.rows, role)


def _loaded(site: CallSite, ref: Ref, columns: dict[str, ColumnSchema], rows: float | None, role: str) -> Dataset:
    site.session.sources[ref] = columns
    note_labels(site, columns, {})
    if role == "test":
        site.session.tests.add(ref)
    return Dataset(ref, columns, rows, role, frozenset([ref.stage]))


def _option(site: CallSite, name: str, value: Any) -> Any:
    if isinstance(value, Record):
        return {key: _option(site, name, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_option(site, name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise faults.wrong_kind(f"'{name}' of 'load'", "a plain value", describe(value), site.at(name))


def column_name(site: CallSite, d: Dataset, value: Any, argument: str) -> str | None:
    """A column of `d` by name, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise faults.wrong_kind(f"'{argument}' of '{site.name}'", "a column name", describe(value), site.at(argument))
    if value not in d.columns:
        raise faults.missing_column(value, site.at(argument), list(d.columns), "the dataset")
    return value


def _seed(site: CallSite, value: Any) -> int:
    return site.session.seed if value is None else plain_int(site, "seed", value)


@on_each_split
@builtin
def split(
    site: CallSite,
    data: Any,
    *,
    parts: Any = None,
    stratify: Any = None,
    group: Any = None,
    by: Any = None,
    role: Any = None,
    seed: Any = None,
    **shares: Any,
) -> Any:
    """Disjoint parts of a dataset, by shares (`train = 80%`) or in `parts` equal ones; `by` a column (a date, a number)
    the first part has what comes first. `role` says what parts are for whose names do not: `{exam: "test"}`."""
    d = dataset(site, data, "data")
    spec = {
        "stratify": column_name(site, d, stratify, "stratify"),
        "group": column_name(site, d, group, "group"),
        "seed": _seed(site, seed),
    }
    if by is not None:
        spec |= {"by": _ordered_column(site, d, by), "seed": 0}
    if parts is not None:
        count = plain_int(site, "parts", parts)
        if count < 1:
            raise faults.wrong_value(f"'parts' of 'split' must be at least 1, got {count}", site.at("parts"))
        if shares:
            text = f"'split' takes either 'parts' or shares ({', '.join(shares)})"
            raise faults.wrong_value(text, site.at("parts"), "split one of the parts again: split(parts[0], ...)")
        names = [str(i) for i in range(count)]
        made = parts_of(site, d, {**spec, "parts": count}, dict.fromkeys(names, 1 / count))
        return [made[name] for name in names]
    if not shares:
        raise faults.missing_argument("split", "train", site.location)
    for name, share in shares.items():
        if not is_float(share) or not 0 < share <= 1:
            if one_letter_off(name, SPLIT_SETTINGS):
                raise faults.unknown_argument("split", name, site.name_of(name), SPLIT_SETTINGS)
            raise faults.wrong_kind(
                f"the share '{name}' of 'split'", "a share between 0% and 100%", describe(share), site.at(name)
            )
    total = sum(shares.values())
    if total > 1 + 1e-9:
        raise faults.wrong_value(f"the shares of 'split' add up to {total:.0%}, more than all rows", site.location)
    roles = {} if role is None else _roles(site, d, role, shares)
    return Record(parts_of(site, d, {**spec, "parts": [[n, s] for n, s in shares.items()]}, shares, roles))


def _roles(site: CallSite, d: Dataset, given: Any, parts: Mapping[str, Any]) -> dict[str, str]:
    """What parts are for, by name."""
    if not isinstance(given, Record) or not all(isinstance(value, str) for value in given.values()):
        expected = 'a record of parts with their roles: {exam: "test"}'
        raise faults.wrong_kind("'role' of 'split'", expected, describe(given), site.at("role"))
    for name, role in given.items():
        if name not in parts:
            raise faults.unknown_field(name, site.at("role"), list(parts), "this split")
        if role not in get_args(Role):
            expected = ", ".join(get_args(Role))
            raise faults.wrong_kind(f"the role of '{name}'", f"one of {expected}", f'"{role}"', site.at("role"))
        if role != "test" and (d.role == "test" or name == "test"):
            whole = "parts of test data stay test data" if d.role == "test" else "a part called test is test data"
            raise faults.wrong_value(whole, site.at("role"), "take the rows that may be trained on from elsewhere")
    return dict(given)


def _ordered_column(site: CallSite, d: Dataset, by: Any) -> str | None:
    """A column whose values have an order: texts (as dates are written) or single numbers."""
    name = column_name(site, d, by, "by")
    column = d.columns[name or ""]
    for other in ("stratify", "group"):
        if other in site.spans:
            text = f"'split' takes 'by' or '{other}', not both"
            raise faults.wrong_value(text, site.name_of(other), "what comes first goes to the first part")
    if column.kind != "text" and column.shape:
        raise faults.wrong_kind("'by' of 'split'", "a column of texts or numbers", f"{name}: {column}", site.at("by"))
    return name


def parts_of(
    site: CallSite,
    d: Dataset,
    spec: dict[str, Any],
    shares: dict[str, float],
    roles: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Dataset]:
    """The outputs of a split; one called train, valid or test has that role, and `roles` are those of others."""
    label = (
        " / ".join(f"{name} {share:.0%}" for name, share in shares.items()) if isinstance(spec["parts"], list) else ""
    )
    id = add_stage(site, "split", spec, [d.ref], dict.fromkeys(shares, str(d)), label)
    result = {}
    for name, share in shares.items():
        role = d.role if d.role == "test" else roles.get(name, name if name in ROLES else d.role)
        site.session.sources[Ref(id, name)] = d.columns
        if role == "test" and d.role != "test":
            site.session.tests.add(Ref(id, name))
        rows = None if d.rows is None else d.rows * share
        result[name] = Dataset(Ref(id, name), d.columns, rows, role, d.roots)
    return result


@on_each_split
@builtin
def sample(site: CallSite, data: Any, size: Any, *, stratify: Any = None, per: Any = None, seed: Any = None) -> Dataset:
    """A random share (`10%`) or number (`24examples`) of the rows; `per` takes that many of each value of a column.
    Of a stream so many rows are made."""
    if isinstance(data, Endless):
        from etude.compiler.builtins.generating import taken

        return taken(site, data, size, stratify, per, seed)
    d = dataset(site, data, "data")
    spec: dict[str, Any] = {
        "stratify": column_name(site, d, stratify, "stratify"),
        "per": column_name(site, d, per, "per"),
        "seed": _seed(site, seed),
    }
    rows: float | None
    if isinstance(size, Quantity) and size.unit == "examples":
        spec["count"], rows = int(size.value), float(size.value)
        if per is None and isinstance(d.rows, int) and size.value > d.rows:
            text = f"'size' of 'sample' is {size}, but there are only {d.rows:,} rows"
            raise faults.wrong_value(text, site.at("size"), "ask for fewer, or take the dataset as it is")
    elif is_float(size) and 0 < size <= 1:
        spec["share"], rows = float(size), None if d.rows is None else d.rows * size
    else:
        got = str(size) if isinstance(size, Quantity | float | int) else describe(size)
        raise faults.wrong_kind("'size' of 'sample'", "a share such as 10%, or 24examples", got, site.at("size"))
    return derived(site, "sample", spec, d, rows, str(size) if isinstance(size, Quantity) else f"{size:.0%}")


@on_each_split
@builtin
def drop(site: CallSite, data: Any, columns: Any) -> Dataset:
    """The dataset without some of its columns: a name, or a list of names."""
    d = dataset(site, data, "data")
    names = columns if isinstance(columns, list) else [columns]
    for name in names:
        column_name(site, d, name, "columns")
    kept = {name: column for name, column in d.columns.items() if name not in names}
    if not kept:
        raise faults.wrong_value("'drop' would leave no column", site.location)
    shown = Dataset(d.ref, kept, d.rows)
    id = add_stage(site, "drop", {"columns": sorted(names)}, [d.ref], {"data": str(shown)}, ", ".join(names))
    return Dataset(Ref(id, "data"), kept, d.rows, d.role, d.roots)


def joined_columns(left: Dataset, right: Dataset, location: Location, name: str = "+") -> dict[str, ColumnSchema]:
    """The columns of rows of both: they must agree."""
    if set(left.columns) != set(right.columns):
        text = f"'{name}' needs equal columns: {', '.join(left.columns)} and {', '.join(right.columns)}"
        raise faults.wrong_value(text, location, "drop the columns that only one of them has")
    return {each: _fitted(column, right.columns[each], location, name) for each, column in left.columns.items()}


def union(session: Any, left: Dataset, right: Dataset, location: Location) -> Dataset:
    """`a + b`: the rows of both; their columns must agree."""
    columns = joined_columns(left, right, location)
    site = CallSite(session.evaluator, location, {}, "+", False)
    rows = None if left.rows is None or right.rows is None else left.rows + right.rows
    labels = {name: c.classes for name, c in columns.items() if c.kind == "label"}
    is_fitted = any(c.kind != columns[name].kind for d in (left, right) for name, c in d.columns.items())
    spec = {"labels": labels} if is_fitted else {}
    made = Dataset(left.ref, columns, rows)
    id = add_stage(site, "union", spec, [left.ref, right.ref], {"data": str(made)})
    return Dataset(Ref(id, "data"), columns, rows, left.role, left.roots | right.roots)


def _fitted(left: ColumnSchema, right: ColumnSchema, location: Location, name: str) -> ColumnSchema:
    """The column of a union: an int column becomes the label that the other side has, checked while running."""
    label = next((c for c in (left, right) if c.kind == "label"), None)
    if label is not None and {left.kind, right.kind} == {"label", "tensor"}:
        plain = right if label is left else left
        if plain.dtype == "int32" and plain.shape == ():
            return label
    if left.vocabulary != right.vocabulary and left.vocabulary and right.vocabulary:
        raise faults.other_tokenizer(f"'{left.name}'", left.vocabulary, right.vocabulary, location)
    if (left.kind, left.dtype, left.shape, left.classes) != (right.kind, right.dtype, right.shape, right.classes):
        raise faults.wrong_value(
            f"'{name}': the column '{left.name}' is {left} on one side and {right} on the other", location
        )
    return left


def subtract(session: Any, left: Dataset, right: Dataset, location: Location) -> Dataset:
    """`a - b`: the rows of `a` that are not in `b`."""
    site = CallSite(session.evaluator, location, {}, "-", False)
    rows = None if left.rows is None or right.rows is None else max(left.rows - right.rows, 0)
    id = add_stage(site, "subtract", {}, [left.ref, right.ref], {"data": str(left)})
    return Dataset(Ref(id, "data"), left.columns, rows, left.role, left.roots)


# --- stages with a row function ------------------------------------------------------------------


def row_stage(site: CallSite, d: Dataset, traced: TracedFunction, seed: Any = None) -> tuple[dict[str, Any], Inputs]:
    """The part of a spec that every stage with a row function has, and the stage's inputs."""
    made = row_member(site, d, traced, seed)
    return made.spec, made.inputs


def row_member(
    site: CallSite, d: Dataset, traced: TracedFunction, seed: Any = None, found: Any = None, more: Json = None
) -> RowStage:
    """The same for members of a sweep to share: with `found` in tracing, and `more` in the spec."""
    inputs = Inputs([asked(site, replace(d, ref=texts_read(site, d, traced.texts)), traced)])
    own = _seed(site, seed)
    slots = SlotTable(inputs, own)
    program = traced.to_json(slots)
    warn_about_fresh(site, slots)
    spec = {
        "program": program,
        "slots": slots.entries,
        "seed": own if traced.sub.is_random else 0,  # what draws nothing is the same stage under every seed
        "identity": digest(canonical_program(program)),
        **(more or {}),
    }
    return RowStage(spec, inputs, slots, found)


def texts_read(site: CallSite, d: Dataset, texts: Mapping[str, TextRead]) -> Ref:
    """The dataset with what a function reads of its texts, each in a column of its own."""
    if not texts:
        return d.ref
    spec = {"reads": [[name, read.expression, read.dtype] for name, read in texts.items()]}
    with site.session.named("text"):
        label = ", ".join(dict.fromkeys(read.expression[0] for read in texts.values()))
        return Ref(add_stage(site, "text", spec, [d.ref], {"data": "Dataset"}, label), "data")


def without_texts(site: CallSite, d: Dataset, texts: Mapping[str, TextRead]) -> Dataset:
    """The dataset without the columns that were made for a function to read."""
    if not texts:
        return d
    with site.session.named("columns"):
        id = add_stage(site, "drop", {"columns": sorted(texts)}, [d.ref], {"data": str(d)})
    return replace(d, ref=Ref(id, "data"))


def asked(site: CallSite, d: Dataset, traced: TracedFunction) -> Ref:
    """The dataset with what estimators that are no models say of its rows, each in a column of its own."""
    if not traced.hosted:
        return d.ref
    uses, columns = [], dict(d.columns)
    for name, estimator in traced.hosted.items():
        type = estimator.output
        columns[name] = ColumnSchema(name, "tensor", type.dtype, tuple(evaluate(dim, 1) for dim in type.shape))
        index = ["nearest"] if estimator.name == "nearest" else []
        uses.append([name, estimator.input, list(columns[name].shape), *index])
    refs = [d.ref, *(estimator.ref for estimator in traced.hosted.values())]
    label = ", ".join(dict.fromkeys(estimator.name for estimator in traced.hosted.values()))
    with site.session.named("predicted"):
        id = add_stage(site, "predict", {"uses": uses}, refs, {"data": str(Dataset(d.ref, columns, d.rows))}, label)
    return Ref(id, "data")


@on_each_split
@builtin
def map_(site: CallSite, data: Any, function: Any, *, target: Any = None, seed: Any = None) -> Dataset:
    """A dataset with the columns that the function returns for each row, a record: `{...row, p: e}` keeps the others.

    The function sees single rows and may call models; it is computed in batches. Its draws are the same at every pass.
    `target` names the column that is to be predicted, or several; by default columns with the names of targets are.
    """
    d = dataset(site, data, "data")
    traced = trace(site, "map", "row", function_argument(site, function, "function"), d.columns, hosts=True)
    if not isinstance(traced.result, Record):
        help = "name the columns it makes: {x: ...}, or {...row, x: ...} beside those that there are"
        what, got = "the result of 'map'", describe(traced.result)
        raise faults.wrong_kind(what, "a record of columns", got, site.at("function"), help)
    read = dict(traced.texts)
    renamed = text_outputs(traced.result, read)
    made, kept = computed_outputs(replace(traced, texts=read))
    columns = {n: d.columns[n] if n in kept else computed_column(n, value, d) for n, value in traced.result.items()}
    columns = {n: with_vocabulary(traced.sub, d.columns, column) for n, column in columns.items()}
    columns = with_targets(site, columns, d, target)
    note_labels(site, columns, traced.result)
    spec, inputs = row_stage(site, d, made, seed)
    spec["keep"], spec["order"] = kept, list(columns)
    if renamed:
        spec["renamed"] = [[name, source] for name, source in renamed.items()]
    there = {*kept, *renamed}
    spec["columns"] = [
        [c.name, [c.dtype, list(c.shape)], column_kind(c)] for c in columns.values() if c.name not in there
    ]
    shown = Dataset(d.ref, columns, d.rows)
    id = add_stage(site, "map", spec, inputs.refs, {"data": str(shown)}, ", ".join(columns))
    return Dataset(Ref(id, "data"), columns, d.rows, d.role, d.roots)


@on_each_split
@builtin
def filter_(site: CallSite, data: Any, function: Any) -> Dataset:
    """The rows for which the function is true; it sees single rows and may call models."""
    d = dataset(site, data, "data")
    traced = trace(site, "filter", "row", function_argument(site, function, "function"), d.columns)
    scalar_outputs(traced, "the result of 'filter'", site.at("function"))
    spec, inputs = row_stage(site, d, traced)
    id = add_stage(site, "filter", spec, inputs.refs, {"data": str(d)})
    return without_texts(site, Dataset(Ref(id, "data"), d.columns, d.rows, d.role, d.roots), traced.texts)


@on_each_split
@builtin
def top(site: CallSite, data: Any, size: Any, *, by: Any) -> Dataset:
    """The share (`20%`) or number (`24examples`) of rows for which `by`, a number for each row, is highest."""
    d = dataset(site, data, "data")
    traced = trace(site, "top", "row", function_argument(site, by, "by"), d.columns)
    scalar_outputs(traced, "the score of 'top'", site.at("by"))
    spec, inputs = row_stage(site, d, traced)
    rows: float | None
    if isinstance(size, Quantity) and size.unit == "examples":
        spec["count"], rows = int(size.value), float(size.value)
    elif is_float(size) and 0 < size <= 1:
        spec["share"], rows = float(size), None if d.rows is None else d.rows * size
    else:
        raise faults.wrong_kind(
            "'size' of 'top'", "a share such as 20%, or 24examples", describe(size), site.at("size")
        )
    id = add_stage(site, "top", spec, inputs.refs, {"data": str(d)})
    return without_texts(site, Dataset(Ref(id, "data"), d.columns, rows, d.role, d.roots), traced.texts)
