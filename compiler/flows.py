"""What of the data is in each output of the graph: by column, in the choice of rows, in weights and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from etude.compiler.schema import ColumnSchema
from etude.compiler.workflow import Ref, Stage


class Mark(Struct, frozen=True):
    """Data from the output `ref`, a source or where test data comes into being: of its inputs, or of its targets."""

    ref: Ref
    of: Literal["inputs", "labels"]


Marks = frozenset[Mark]
NONE: Marks = frozenset()


class Seen(Struct, frozen=True):
    """That rows of a dataset were seen, and by the marks of what was read what of them."""

    ref: Ref
    marks: Marks


class Flow(Struct, frozen=True):
    """The marks of an output: in the columns of a dataset, and in everything else (`whole`), as in which rows there
    are, or in a number or a weight. `seen` are the datasets whose rows have shaped a model, a choice or a measured
    value."""

    columns: Mapping[str, Marks] = {}
    whole: Marks = NONE
    seen: frozenset[Seen] = frozenset()

    def of(self, columns: Iterable[str] | None = None) -> Marks:
        """The marks in some columns (by default in all), and in the whole."""
        names = self.columns if columns is None else columns
        return self.whole.union(*(self.columns.get(name, NONE) for name in names))


def new_columns(ref: Ref, columns: Mapping[str, ColumnSchema], before: Flow) -> dict[str, Marks]:
    """The marks of data where it comes into being. What was computed from targets before stays of the targets."""
    return {
        name: frozenset([Mark(ref, "labels" if is_target(column) else kind_of(before.columns.get(name, NONE)))])
        for name, column in columns.items()
    }


def kind_of(marks: Marks) -> Literal["inputs", "labels"]:
    """Whether some of the marks are of targets."""
    return "labels" if any(mark.of == "labels" for mark in marks) else "inputs"


def is_target(column: ColumnSchema) -> bool:
    """Whether a column says what is to be predicted."""
    return column.kind == "label" or column.is_target


def used_columns(program: Any) -> list[str]:
    """The columns that a traced function reads."""
    return [name for name, *_ in program["subs"][-1]["inputs"]]


def dependencies(program: Any) -> dict[str, set[str]]:
    """The columns that each output of a traced function is computed from."""
    sub = program["subs"][-1]
    reached: dict[int, set[str]] = {value: {name} for name, value, _ in sub["inputs"]}
    for _, operands, _, results in sub["ops"]:
        found = {name for operand in operands if isinstance(operand, int) for name in reached.get(operand, ())}
        reached.update((value, found) for value, _ in results)
    return {name: reached.get(value, set()) if isinstance(value, int) else set() for name, value in sub["outputs"]}


def columns_read(expression: Any) -> set[str]:
    """The columns of texts that an expression is made of."""
    if expression[0] == "column":
        return {expression[1]}
    return set().union(*(columns_read(each) for each in expression[1:])) if expression[0] != "text" else set()


def flow_of(stage: Stage, known: Mapping[Ref, Flow], scales: Collection[int] = ()) -> Flow:
    """What the outputs of a stage take over from its inputs and guards: the same for each of its ports.

    `scales` are those inputs by which results are only expressed: measured values that predict nothing.
    """
    inputs = [known.get(ref, Flow()) for ref in stage.inputs]
    found = _RULES.get(stage.kind, _mixed)(stage, inputs)
    passed_by = {*_probed(stage), *scales}
    shaping = [flow.seen for i, flow in enumerate(inputs) if i not in passed_by]
    seen = found.seen.union(*shaping, *(known.get(ref, Flow()).seen for ref in stage.guards))
    return found if not seen else replace(found, seen=seen)


def _mixed(stage: Stage, inputs: list[Flow]) -> Flow:
    return Flow(whole=NONE.union(*(flow.of() for flow in inputs)))


def _same_rows(stage: Stage, inputs: list[Flow]) -> Flow:
    """Parts of a dataset with all its columns. Which rows are in a random part says nothing of them; by classes or in
    time it tells of that column."""
    data, classes = inputs[0], stage.spec.get("classes")
    chosen = classes[0] if stage.kind == "split" and classes else stage.spec.get("by")
    return Flow(data.columns, data.whole | data.columns.get(chosen or "", NONE))


def _subtracted(stage: Stage, inputs: list[Flow]) -> Flow:
    """The rows of one dataset that are not in another: which rows the other has tells which are left."""
    kept, removed = inputs
    return Flow(kept.columns, kept.whole | removed.whole)


def _relabelled(stage: Stage, inputs: list[Flow]) -> Flow:
    """The new label says what is to be predicted, whatever its column was before."""
    columns = dict(inputs[0].columns)
    name = stage.spec["column"]
    columns[name] = frozenset(Mark(mark.ref, "labels") for mark in columns.get(name, NONE))
    return Flow(columns, inputs[0].whole)


def _episodes(stage: Stage, inputs: list[Flow]) -> Flow:
    """Tasks are rows that the label has put together: each column tells of it."""
    data, spec = inputs[0], stage.spec
    label = data.columns.get(spec["label"], NONE)
    names = [*spec["from"], spec["label"]]
    made = {f"{side}_{name}": data.columns.get(name, NONE) | label for side in ("support", "query") for name in names}
    return Flow(made, data.whole)


def _opaque(stage: Stage, inputs: list[Flow]) -> Flow:
    """Nobody knows which of its inputs a column of foreign code depends on."""
    everything = NONE.union(*(flow.of() for flow in inputs))
    return Flow({name: everything for name, *_ in stage.spec["columns"] or ()}, everything)


def _drop(stage: Stage, inputs: list[Flow]) -> Flow:
    gone = stage.spec["columns"]
    return Flow({name: marks for name, marks in inputs[0].columns.items() if name not in gone}, inputs[0].whole)


def _joined(stage: Stage, inputs: list[Flow]) -> Flow:
    names = {name: None for flow in inputs for name in flow.columns}
    columns = {name: NONE.union(*(flow.columns.get(name, NONE) for flow in inputs)) for name in names}
    return Flow(columns, NONE.union(*(flow.whole for flow in inputs)))


def _chosen_rows(stage: Stage, inputs: list[Flow]) -> Flow:
    """Rows chosen by a function of some columns, and of models and numbers."""
    data, *others = inputs
    by = data.of(used_columns(stage.spec["program"])).union(*(flow.of() for flow in others))
    return Flow(data.columns, by)


def _mapped(stage: Stage, inputs: list[Flow]) -> Flow:
    data, *others = inputs
    outside = NONE.union(*(flow.of() for flow in others))
    columns = {name: data.columns.get(name, NONE) for name in stage.spec["keep"]}
    columns |= {name: data.columns.get(old, NONE) for name, old in stage.spec.get("renamed", ())}
    for name, sources in dependencies(stage.spec["program"]).items():
        columns[name] = outside.union(*(data.columns.get(source, NONE) for source in sources))
    return Flow(columns, data.whole)


def _read(stage: Stage, inputs: list[Flow]) -> Flow:
    """Columns more, made of texts."""
    columns = dict(inputs[0].columns)
    for name, expression, _ in stage.spec["reads"]:
        columns[name] = NONE.union(*(inputs[0].columns.get(source, NONE) for source in columns_read(expression)))
    return Flow(columns, inputs[0].whole)


def _measured(stage: Stage, inputs: list[Flow]) -> Flow:
    used = measured_marks(stage, inputs[0])
    return Flow(whole=used.union(*(flow.of() for flow in inputs[1:])), seen=_of_rows(stage.inputs[0], used))


def measured_marks(stage: Stage, data: Flow) -> Marks:
    """The marks of the columns that a measure reads."""
    texts = [name.removeprefix("#text.") for each in stage.spec.get("metrics", []) for name in each["inputs"]]
    return data.of([*used_columns(stage.spec["program"]), *texts])


def _timed(stage: Stage, inputs: list[Flow]) -> Flow:
    """How long a call takes says nothing of rows."""
    return Flow(whole=NONE.union(*(flow.of() for flow in inputs[1:])))


def _column(stage: Stage, inputs: list[Flow]) -> Flow:
    used = inputs[0].of([stage.spec["column"]])
    return Flow(whole=used, seen=_of_rows(stage.inputs[0], used))


def _trained(stage: Stage, inputs: list[Flow]) -> Flow:
    """All that a training takes in, but validation that chooses nothing."""
    reaching = training_marks(stage, inputs)
    rows = dict(_data_inputs(stage, "on"))
    chosen = validation_marks(stage, inputs) if is_chosen(stage) else []
    shown = [(i, marks) for i, marks in reaching if i in rows] + chosen
    seen = frozenset[Seen]().union(*(_of_rows(stage.inputs[i], marks) for i, marks in shown))
    return Flow(whole=NONE.union(*(marks for _, marks in (*reaching, *chosen))), seen=seen)


def _fitted(stage: Stage, inputs: list[Flow]) -> Flow:
    reaching = training_marks(stage, inputs)
    seen = frozenset[Seen]().union(*(_of_rows(stage.inputs[i], marks) for i, marks in reaching))
    return Flow(whole=NONE.union(*(marks for _, marks in reaching)), seen=seen)


def _of_rows(ref: Ref, marks: Marks) -> frozenset[Seen]:
    return frozenset([Seen(ref, marks)]) if marks else frozenset()


def _predicted(stage: Stage, inputs: list[Flow]) -> Flow:
    data, *others = inputs
    columns = dict(data.columns)
    for (name, source, *_), estimator in zip(stage.spec["uses"], others, strict=True):
        columns[name] = data.columns.get(source, NONE) | estimator.of()
    return Flow(columns, data.whole)


def _tokenized(stage: Stage, inputs: list[Flow]) -> Flow:
    """A column made of another by a tokenizer, or the only column that is left of the data."""
    data, *tokenizer = inputs
    source = stage.spec["column"]
    kept = {name: marks for name, marks in data.columns.items() if tokenizer and name != source}
    marks = data.columns.get(source, NONE)
    columns = {name: marks for name in (stage.spec.get("into", source), stage.spec.get("mask")) if name}
    return Flow({**kept, **columns}, data.whole.union(*(flow.of() for flow in tokenizer)))


def training_marks(stage: Stage, inputs: list[Flow]) -> list[tuple[int, Marks]]:
    """The marks that reach the weights of a training or a fit through each of its inputs, but for validation."""
    if stage.kind == "tokenizer":
        return [(i, flow.of([stage.spec["column"]])) for i, flow in enumerate(inputs)]
    if stage.kind == "fit":
        return [(0, inputs[0].of([name for name in (stage.spec["input"], stage.spec["target"]) if name]))]
    on, valid = _data_inputs(stage, "on"), _data_inputs(stage, "valid")
    used = {name for step in stage.spec["steps"] for name in used_columns(step["loss"])}
    used |= ordering_columns(stage.spec)
    data = dict(on)
    found = [(i, inputs[i].of(_columns_of(name, inputs[i], used))) for i, name in on]
    rest = [i for i in range(len(inputs)) if i not in data and i not in dict(valid) and i not in _probed(stage)]
    return found + [(i, inputs[i].of()) for i in rest]


def _probed(stage: Stage) -> set[int]:
    """The inputs that only probes of a training look at, which nothing of it depends on."""
    return set(stage.spec["inputs"].get("watch", {}).values()) if stage.kind == "train" else set()


def ordering_columns(spec: Mapping[str, Any]) -> set[str]:
    """The columns that order the rows of a training, as its programs call columns."""
    columns = [(name, column) for name, column in spec.get("weights", {}).items() if column is not None]
    columns += [(name, order["column"]) for name, order in spec.get("order", {}).items() if order is not None]
    return {f"{stream}.{column}" if stream else column for stream, column in columns}


def validation_marks(stage: Stage, inputs: list[Flow]) -> list[tuple[int, Marks]]:
    """The marks of what a training is validated on."""
    programs = stage.spec["valid"] and [p for p in (stage.spec["valid"]["loss"], stage.spec["valid"]["scores"]) if p]
    used = {name for program in programs or () for name in used_columns(program)}
    return [(i, inputs[i].of(_columns_of(name, inputs[i], used))) for i, name in _data_inputs(stage, "valid")]


def is_chosen(stage: Stage) -> bool:
    """Whether the weights that a training keeps, or its length, depend on validation."""
    if stage.kind != "train" or stage.spec["valid"] is None:
        return False
    return stage.spec["keep"] == "best" or stage.spec["patience"] is not None


def _data_inputs(stage: Stage, role: str) -> list[tuple[int, str]]:
    """The data inputs of a training with the names of their streams ("" for the only one)."""
    given = stage.spec["inputs"][role]
    if given is None:
        return []
    return [(given, "")] if isinstance(given, int) else [(index, name) for name, index in given.items()]


def _columns_of(stream: str, flow: Flow, used: set[str]) -> list[str]:
    """The columns of one stream that are read: those of several have the stream's name before their own."""
    return [name for name in flow.columns if name in used or f"{stream}.{name}" in used]


_RULES = {
    "split": _same_rows,
    "sample": _same_rows,
    "subtract": _subtracted,
    "shuffle": _same_rows,
    "mix": _joined,
    "relabel": _relabelled,
    "episodes": _episodes,
    "plugin": _opaque,
    "drop": _drop,
    "union": _joined,
    "select": _joined,
    "filter": _chosen_rows,
    "top": _chosen_rows,
    "map": _mapped,
    "text": _read,
    "measure": _measured,
    "collect": _measured,
    "latency": _timed,
    "column": _column,
    "train": _trained,
    "fit": _fitted,
    "tokenizer": _fitted,
    "tokenize": _tokenized,
    "pack": _tokenized,
    "decode": _tokenized,
    "predict": _predicted,
}
