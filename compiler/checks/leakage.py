"""Check that no test data reaches training or choosing, and that test data is new to the models measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from msgspec import Struct, field

from etude.compiler import faults
from etude.compiler.checks.predicting import predicting
from etude.compiler.checks.shared_rows import SharedRows, by_stage
from etude.compiler.checks.ways import Ways
from etude.compiler.diagnostics import Diagnostic, Location
from etude.compiler.flows import (
    Flow,
    Mark,
    Marks,
    Seen,
    flow_of,
    is_chosen,
    is_target,
    kind_of,
    measured_marks,
    new_columns,
    training_marks,
    validation_marks,
)
from etude.compiler.lineage import Part
from etude.compiler.schema import ColumnSchema
from etude.compiler.session import Session
from etude.compiler.workflow import Ref, Stage

DATA = "Dataset"
MEASURED = ("Metric", "Tensor", "Tree")
MANY = 8  # numbers
ON_ROWS = {"measure", "collect", "map", "filter", "top"}


def check_leakage(session: Session) -> list[Diagnostic]:
    """Follow test data through the graph, in the order of the stages. What was reported is not followed further."""
    if not session.tests and not any(stage.kind == "split" and stage.spec["group"] for stage in _stages(session)):
        return []
    flows: dict[Ref, Flow] = {}
    leakage = _Leakage(session, Ways(session, flows), flows, SharedRows(session))
    for stage in _stages(session):
        leakage.visit(stage)
    if not leakage.found:
        leakage.compare_contents()
    return leakage.found


def _stages(session: Session) -> list[Stage]:
    return list(session.stages.stages.values())


class _Leakage(Struct):
    session: Session
    ways: Ways
    flows: dict[Ref, Flow]
    rows: SharedRows
    decided: set[Location] = field(default_factory=set)
    told: set[Ref] = field(default_factory=set)
    unproven: dict[tuple[Ref, Ref], None] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def visit(self, stage: Stage) -> None:
        inputs = [self.flows.get(ref, Flow()) for ref in stage.inputs]
        before = len(self.found)
        self._guards(stage)
        scales = self._scales(stage, inputs)
        if stage.kind == "split" and (fault := self.rows.add_split(stage)):
            self.found.append(fault)
        elif stage.kind == "select":
            self._choice(stage, inputs[:1])
        elif stage.kind == "compute" and stage.id in self.session.memo.get("chosen", ()):
            self._choice(stage, inputs)
        elif stage.kind in ("train", "fit", "tokenizer"):
            self._train(stage, inputs)
        elif stage.kind == "tensor":
            self._configuration(stage, inputs)
        elif stage.kind == "edit":
            self._edit(stage, inputs)
        if stage.kind in ON_ROWS:
            self._predictions(stage, inputs, scales)
        if stage.kind in {"measure", "collect"} and len(self.found) == before:
            self._measure(stage, inputs, scales)
        flow = flow_of(stage, self.flows, scales) if len(self.found) == before else Flow()
        for port, kind in stage.outputs.items():
            ref = Ref(stage.id, port)
            if kind.startswith(DATA):
                self.rows.add(stage, ref)
            self.flows[ref] = self._output(ref, flow, is_data=kind.startswith(DATA))

    def _output(self, ref: Ref, flow: Flow, *, is_data: bool) -> Flow:
        """The flow of one output. New data is marked; of what is no test data only datasets keep the marks."""
        if ref in self.rows.roots or ref in self.session.tests:
            columns = new_columns(ref, self.session.sources[ref], flow)
            return Flow(columns, self._tested(flow.whole), flow.seen)
        return flow if is_data else Flow(flow.columns, self._tested(flow.whole), flow.seen)

    # --- the rules ---

    def _guards(self, stage: Stage) -> None:
        """A `while` on test data is reported once, at its first round."""
        for guard in stage.guards:
            labels = self._labels(self.flows.get(guard, Flow()).of())
            where = self.ways.place(guard.stage)
            if labels and where not in self.decided:
                path, made = self.ways.of_mark(guard, labels)
                what = f"test data decides whether '{self.ways.binding(stage)}' runs"
                by = "when" if guard.stage in self.session.memo.get("when", ()) else "while"
                self.found.append(faults.test_decides(what, f"{path} -> {by}", where, made))
            if labels:
                self.decided.add(where)
                self.flows[guard] = Flow()

    def _choice(self, stage: Stage, inputs: list[Flow]) -> None:
        """A choice by `best` or `when`, by what its first inputs say; reported once."""
        where, known = self.ways.place(stage.id), list(zip(stage.inputs, inputs, strict=False))
        labels = [(ref, mark) for ref, flow in known if (mark := self._labels(flow.of()))]
        if labels and where not in self.decided:
            path, made = self.ways.of_mark(*labels[0], stage)
            what = f"test data chooses '{self.ways.binding(stage)}'"
            self.found.append(faults.test_decides(what, path, where, made))
        if labels and stage.kind == "select":
            self.flows[stage.inputs[0]] = Flow()
        if not labels and where not in self.decided:
            self._tell(stage, [(ref, flow.of()) for ref, flow in known])
        self.decided.add(where)

    def _configuration(self, stage: Stage, inputs: list[Flow]) -> None:
        """What a model is configured with is chosen once and for all, like what it has learned."""
        configured: dict[Ref, Location] = self.session.memo.get("configured", {})
        where = next((configured[ref] for port in stage.outputs if (ref := Ref(stage.id, port)) in configured), None)
        for ref, flow in zip(stage.inputs, inputs, strict=True):
            if where is not None and (labels := self._labels(flow.of())):
                path, made = self.ways.of_mark(ref, labels)
                what = "test data decides how a model is configured"
                self.found.append(faults.test_decides(what, f"{path} -> configuration", where, made))
                return

    def _train(self, stage: Stage, inputs: list[Flow]) -> None:
        reaching = training_marks(stage, inputs)
        for index, marks in reaching:
            if labels := self._labels(marks):
                path, made = self.ways.of_mark(stage.inputs[index], labels, stage)
                where = self.ways.place(stage.id)
                self.found.append(faults.test_reaches_training(path, where, made))
                return
        if is_chosen(stage):
            for index, marks in validation_marks(stage, inputs):
                if labels := self._labels(marks):
                    path, made = self.ways.of_mark(stage.inputs[index], labels, stage)
                    what = f"test data chooses which weights '{self.ways.binding(stage)}' keeps"
                    self.found.append(faults.test_decides(what, path, self.ways.place(stage.id), made))
                    return
        reaching += validation_marks(stage, inputs) if is_chosen(stage) else []
        self._tell(stage, [(stage.inputs[index], marks) for index, marks in reaching])

    def _tell(self, stage: Stage, taken: list[tuple[Ref, Marks]]) -> None:
        """Say once of a stage that inputs of test data shape what it gives."""
        for ref, marks in taken:
            if tested := self._tested(marks):
                path, made = self.ways.of_mark(ref, min(tested, key=_order), stage)
                self.session.diagnostics.add(faults.transductive(path, self.ways.place(stage.id), made))
                return

    def _edit(self, stage: Stage, inputs: list[Flow]) -> None:
        """Weights that are computed from what test labels say have learned from them."""
        where = self.ways.place(stage.id)
        labels = [
            (ref, mark) for ref, flow in zip(stage.inputs, inputs, strict=True) if (mark := self._labels(flow.of()))
        ]
        if labels and where not in self.decided:
            path, made = self.ways.of_mark(*labels[0], stage)
            self.found.append(faults.test_reaches_weights(path, where, made))
        if labels:
            self.decided.add(where)
            self.flows.update((ref, Flow()) for ref, _ in labels)

    def _predictions(self, stage: Stage, inputs: list[Flow], scales: list[int]) -> None:
        """What is measured on test data may scale its results, but not make the predictions."""
        if not self._tested(_columns(inputs[0])):
            return
        for index, (ref, flow) in enumerate(zip(stage.inputs, inputs, strict=True)):
            labels = self._labels(flow.whole) if index and index not in scales else None
            if labels is not None:
                path, made = self.ways.of_mark(ref, labels, stage)
                what = f"test data decides what '{self.ways.binding(stage)}' predicts for it"
                self.found.append(faults.test_decides(what, path, self.ways.place(stage.id), made))
                return

    def _measure(self, stage: Stage, inputs: list[Flow], scales: list[int]) -> None:
        """Test rows must be new to the models that are measured on them."""
        data = stage.inputs[0]
        if not self._tested(_columns(inputs[0])):
            return
        has_targets = self._labels(measured_marks(stage, inputs[0])) is not None
        shaping = [flow.seen for index, flow in enumerate(inputs) if index not in scales]
        suspect = [seen for seen in frozenset[Seen]().union(*shaping) if self.rows.common(seen.ref, data)]
        for seen in sorted(suspect, key=_by_rows):
            parts = self.rows.common(seen.ref, data)
            if not self.rows.are_of_one_source(self.rows.lineages[data], parts):
                tested, learned = self.rows.sources(self.rows.lineages[data]), self.rows.sources(parts)
                self.unproven.update(((a, b), None) for a in tested for b in learned)
                continue
            where, made = self.ways.place(stage.id), self.ways.place(seen.ref.stage)
            path = self.ways.of_rows(stage, seen)
            if not has_targets or any(_kind(part, seen.marks) == "labels" for part in parts):
                names = self.ways.data(data, stage), self.ways.data(seen.ref, self._reader(seen.ref))
                self.found.append(faults.test_was_seen(*names, path, where, made))
                return
            if not self._tested(_columns(self.flows[seen.ref])) and seen.ref not in self.told:
                self.told.add(seen.ref)
                self.session.diagnostics.add(faults.transductive(path, where, made))

    def compare_contents(self) -> None:
        """Add stages that compare the rows of test data with those of training data from elsewhere, where only their
        contents can tell whether they differ."""
        for test, seen in self.unproven:
            columns, others = _comparable(self.session.sources[test], self.session.sources[seen])
            if columns:
                first, second = self._called(test), self._called(seen)
                place, name = self.ways.place(test.stage), f"overlap[{first}, {second}]"
                line = place.source.position(place.span.start)[0]
                spec = {"columns": columns, "names": [first, second], **({"others": others} if others else {})}
                id = self.session.stages.add("overlap", spec, [test, seen], {"shared": "Metric"}, name=name, line=line)
                self.session.places[id] = place

    def _called(self, ref: Ref) -> str:
        stage = self.session.stages.stages[ref.stage]
        return stage.name if ref.port == "data" else f"{stage.name.removesuffix(f'.{stage.kind}')}.{ref.port}"

    def _reader(self, ref: Ref) -> Stage:
        """The first stage that takes an output."""
        return next(stage for stage in _stages(self.session) if ref in stage.inputs)

    # --- what of the marks counts ---

    def _tested(self, marks: Marks) -> Marks:
        """The marks of test data."""
        return frozenset(mark for mark in marks if mark.ref in self.session.tests)

    def _labels(self, marks: Marks) -> Any:
        """The first of the marks that has to do with targets of test data, or None."""
        return next((m for m in sorted(marks, key=_order) if m.of == "labels" and m.ref in self.session.tests), None)

    def _scales(self, stage: Stage, inputs: list[Flow]) -> list[int]:
        """The inputs of a function on test rows that are measured values by which it predicts nothing."""
        if stage.kind not in ON_ROWS or not self._tested(_columns(inputs[0])):
            return []
        kinds = [self.session.stages.stages[ref.stage].outputs[ref.port] for ref in stage.inputs]
        values = [i for i, kind in enumerate(kinds) if kind.startswith(MEASURED)]
        targets = [n for n, marks in inputs[0].columns.items() if self._labels(marks)]
        found = predicting(stage.spec, values, targets) if values else set()
        return [i for i in values if i not in found]


Columns = Mapping[str, ColumnSchema]


def _comparable(test: Columns, seen: Columns) -> tuple[list[str], list[str]]:
    """The columns by which rows can be told apart, and those of the other data where they have other names there.

    Targets are left out: the same input with another label is a leak.
    """
    inputs = {name: column for name, column in test.items() if not is_target(column)}
    shared = sorted(name for name in inputs if name in seen)
    if shared:
        return shared, []
    free = {name: column for name, column in seen.items() if not is_target(column) and _is_telling(column)}
    pairs = []
    for name, column in inputs.items():
        same = (n for n, c in free.items() if (c.kind, c.dtype, c.shape) == (column.kind, column.dtype, column.shape))
        if (found := next(same, None)) is not None:
            pairs.append((name, found))
            del free[found]
    return [name for name, _ in pairs], [other for _, other in pairs]


def _is_telling(column: ColumnSchema) -> bool:
    """Whether equal values can hardly be chance."""
    return column.kind == "text" or prod(column.shape) >= MANY


def _columns(flow: Flow) -> Marks:
    return frozenset[Mark]().union(*flow.columns.values())


def _kind(part: Part, marks: Marks) -> str:
    """What was read of the rows of a part: marks of the smallest dataset around it tell, where there are some."""
    around = sorted((mark.ref for mark in marks if mark.ref in part.within), key=by_stage)
    return kind_of(frozenset(mark for mark in marks if mark.ref == around[-1])) if around else "inputs"


def _by_rows(seen: Seen) -> tuple[Any, ...]:
    return by_stage(seen.ref), sorted(map(_order, seen.marks))


def _order(mark: Mark) -> tuple[Any, ...]:
    return mark.of != "labels", by_stage(mark.ref)
