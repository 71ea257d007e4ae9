"""Check that no test data reaches training or choosing, and that test data is new to the models measured on it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from etude.compiler import faults
from etude.compiler.diagnostics import Diagnostic, Location
from etude.compiler.flows import (
    Flow,
    Mark,
    Marks,
    flow_of,
    is_chosen,
    is_target,
    test_columns,
    training_marks,
    validation_marks,
)
from etude.compiler.lineage import Lineage, are_disjoint, lineage_of, share_a_root
from etude.compiler.session import Session
from etude.compiler.workflow import Ref, Stage

DATA = "Dataset"


def check_leakage(session: Session) -> list[Diagnostic]:
    """Follow test data through the graph, in the order of the stages. What was reported is not followed further."""
    if not session.tests and not any(stage.kind == "split" and stage.spec["group"] for stage in _stages(session)):
        return []
    leakage = _Leakage(session)
    for stage in _stages(session):
        leakage.visit(stage)
    if not leakage.found:
        leakage.compare_contents()
    return leakage.found


def _stages(session: Session) -> list[Stage]:
    return list(session.stages.stages.values())


class _Leakage(Struct):
    session: Session
    flows: dict[Ref, Flow] = field(default_factory=dict)
    lineages: dict[Ref, Lineage] = field(default_factory=dict)
    splits: list[str] = field(default_factory=list)
    groups: dict[Ref, tuple[str, str]] = field(default_factory=dict)
    roots: set[Ref] = field(default_factory=set)
    decided: set[Location] = field(default_factory=set)
    unproven: dict[tuple[Ref, Ref], None] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def visit(self, stage: Stage) -> None:
        inputs = [self.flows.get(ref, Flow()) for ref in stage.inputs]
        before = len(self.found)
        self._guards(stage)
        if stage.kind == "split":
            self._split(stage)
        elif stage.kind == "select":
            self._choice(stage, inputs)
        elif stage.kind in ("train", "fit", "tokenizer"):
            self._train(stage, inputs)
        elif stage.kind in {"measure", "collect"}:
            self._measure(stage, inputs)
        elif stage.kind == "tensor":
            self._configuration(stage, inputs)
        is_clean = len(self.found) == before
        flow = flow_of(stage, self.flows) if is_clean else Flow()
        for port, kind in stage.outputs.items():
            ref = Ref(stage.id, port)
            if kind.startswith(DATA):
                self.lineages[ref] = lineage_of(stage, port, self.lineages)
                if stage.kind in ("load", "external"):
                    self.roots.add(ref)
            is_new = ref in self.session.tests
            self.flows[ref] = Flow(test_columns(ref, self.session.sources[ref])) if is_new else flow

    # --- the rules ---

    def _guards(self, stage: Stage) -> None:
        """A `while` on test data is reported once, at its first round."""
        for guard in stage.guards:
            labels = self._labels(self.flows.get(guard, Flow()).of())
            where = self._place(guard.stage)
            if labels and where not in self.decided:
                path, made = self._path(guard, labels)
                what = f"test data decides whether '{stage.name}' runs"
                by = "when" if guard.stage in self.session.memo.get("when", ()) else "while"
                self.found.append(faults.test_decides(what, f"{path} -> {by}", where, made))
            if labels:
                self.decided.add(where)
                self.flows[guard] = Flow()

    def _choice(self, stage: Stage, inputs: list[Flow]) -> None:
        where = self._place(stage.id)
        labels = self._labels(inputs[0].of())
        if labels and where not in self.decided:
            path, made = self._path(stage.inputs[0], labels)
            what = f"test data chooses '{stage.name}'"
            self.found.append(faults.test_decides(what, f"{path} -> {stage.name}", where, made))
        if labels:
            self.decided.add(where)
            self.flows[stage.inputs[0]] = Flow()

    def _configuration(self, stage: Stage, inputs: list[Flow]) -> None:
        """What a model is configured with is chosen once and for all, like what it has learned."""
        configured: dict[Ref, Location] = self.session.memo.get("configured", {})
        where = next((configured[ref] for port in stage.outputs if (ref := Ref(stage.id, port)) in configured), None)
        for ref, flow in zip(stage.inputs, inputs, strict=True):
            if where is not None and (labels := self._labels(flow.of())):
                path, made = self._path(ref, labels)
                what = "test data decides how a model is configured"
                self.found.append(faults.test_decides(what, f"{path} -> configuration", where, made))
                return

    def _train(self, stage: Stage, inputs: list[Flow]) -> None:
        reaching = training_marks(stage, inputs)
        for index, marks in reaching:
            if labels := self._labels(marks):
                path, made = self._path(stage.inputs[index], labels)
                where = self._place(stage.id)
                self.found.append(faults.test_reaches_training(f"{path} -> {stage.name}", where, made))
                return
        if is_chosen(stage):
            for index, marks in validation_marks(stage, inputs):
                if labels := self._labels(marks):
                    path, made = self._path(stage.inputs[index], labels)
                    what = f"test data chooses which weights '{stage.name}' keeps"
                    self.found.append(faults.test_decides(what, f"{path} -> {stage.name}", self._place(stage.id), made))
                    return
        for index, marks in reaching:
            if marks:
                path, made = self._path(stage.inputs[index], next(iter(sorted(marks, key=_order))))
                self.session.diagnostics.add(
                    faults.transductive(f"{path} -> {stage.name}", self._place(stage.id), made)
                )
                return

    def _measure(self, stage: Stage, inputs: list[Flow]) -> None:
        """Test rows must be new to the models that are measured on them."""
        data = stage.inputs[0]
        if not any(marks for marks in inputs[0].columns.values()):
            return
        for seen in sorted(frozenset().union(*(flow.seen for flow in inputs)), key=_by_stage):
            pair = self.lineages[data], self.lineages[seen]
            if are_disjoint(*pair, self.splits, self.session.disjoint):
                continue
            if not share_a_root(*pair, self.roots):
                self.unproven.update(((a, b), None) for a in self._sources(data) for b in self._sources(seen))
            else:
                names = self._name(data), self._name(seen)
                self.found.append(faults.test_was_seen(*names, self._place(stage.id), self._place(seen.stage)))
                return

    def _split(self, stage: Stage) -> None:
        """All splits of rows that come in groups keep the groups whole."""
        if not self._repeats(stage.inputs[0]):
            self.splits.append(stage.id)
        group = stage.spec["group"]
        for part in self.lineages[stage.inputs[0]]:
            for ref in sorted(part.within, key=_by_stage):
                known = self.groups.get(ref)
                if group is None and known is not None:
                    column, first = known
                    where, related = self._place(stage.id), self._place(first)
                    self.found.append(faults.grouped_rows(column, where, related))
                    return
                if group is not None:
                    self.groups.setdefault(ref, (group, stage.id))

    def _repeats(self, ref: Ref) -> bool:
        """Whether a dataset may hold a row twice: parts of it can then have rows in common."""
        for part in self.lineages[ref]:
            for made in (self.session.stages.stages[each.stage] for each in part.within):
                if made.kind == "episodes" or (made.kind == "mix" and made.spec["count"] is not None):
                    return True
                if made.kind in ("union", "mix"):
                    known = [self.lineages[each] for each in made.inputs]
                    pairs = [(a, b) for i, a in enumerate(known) for b in known[:i] if share_a_root(a, b, self.roots)]
                    if not all(are_disjoint(a, b, self.splits, self.session.disjoint) for a, b in pairs):
                        return True
        return False

    def compare_contents(self) -> None:
        """Add stages that compare the rows of test data with those of training data from elsewhere, where only their
        contents can tell whether they differ. Targets are left out: the same input with another label is a leak."""
        for test, seen in self.unproven:
            inputs, others = self.session.sources[test], self.session.sources[seen]
            shared = sorted(name for name, column in inputs.items() if not is_target(column) and name in others)
            if shared:
                first, second = self._name(test), self._name(seen)
                place, name = self._place(test.stage), f"overlap[{first}, {second}]"
                line = place.source.position(place.span.start)[0]
                spec, ports = {"columns": shared, "names": [first, second]}, {"shared": "Metric"}
                id = self.session.stages.add("overlap", spec, [test, seen], ports, name=name, line=line)
                self.session.places[id] = place

    def _sources(self, ref: Ref) -> list[Ref]:
        """The smallest loaded data, or parts of it, that hold the rows of a dataset."""
        parts = (part.within & self.session.sources.keys() for part in self.lineages[ref])
        return sorted({max(within, key=_by_stage) for within in parts if within}, key=_by_stage)

    # --- how it came there ---

    def _labels(self, marks: Marks) -> Any:
        """The first of the marks that has to do with targets of test data, or None."""
        return next((mark for mark in sorted(marks, key=_order) if mark.of == "labels"), None)

    def _path(self, ref: Ref, mark: Mark) -> tuple[str, Location]:
        """The way of a mark to an output, and the place where the test data was made."""
        names: list[str] = []
        while ref != mark.ref:
            stage = self.session.stages.stages[ref.stage]
            names.append(self._name(ref))
            ref = next(r for r in (*stage.inputs, *stage.guards) if mark in self.flows.get(r, Flow()).of())
        return " -> ".join([self._name(mark.ref), *reversed(names)]), self._place(mark.ref.stage)

    def _name(self, ref: Ref) -> str:
        stage = self.session.stages.stages[ref.stage]
        if stage.kind == "predict":
            return self._name(stage.inputs[0])
        if stage.kind in ("split", "load") and ref.port != "data":
            return f"{stage.name.removesuffix(f'.{stage.kind}')}.{ref.port}"
        return stage.name

    def _place(self, id: str) -> Location:
        return self.session.places[id]


def _order(mark: Mark) -> tuple[Any, ...]:
    return mark.of != "labels", _by_stage(mark.ref)


def _by_stage(ref: Ref) -> tuple[int, str]:
    return int(ref.stage[1:]), ref.port
