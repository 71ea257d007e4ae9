"""The way of data through the graph, as messages draw it: `digits.test -> top -> kept -> train`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from etude.compiler.diagnostics import Location
from etude.compiler.flows import Flow, Mark, Seen
from etude.compiler.session import Session
from etude.compiler.workflow import Ref, Stage

MarksOf = Callable[[Ref], Collection[Mark] | Collection[Seen]]


class Ways(Struct):
    """Draws ways in the graph of a session by the flows that are known so far."""

    session: Session
    flows: Mapping[Ref, Flow]

    def of_mark(self, ref: Ref, mark: Mark, end: Stage | None = None) -> tuple[str, Location]:
        """The way of a mark to an output, and on to a stage that takes it, and the place where the data was made."""
        path = self._back(ref, mark, lambda ref: self.flows.get(ref, Flow()).of())
        return self._drawn(mark.ref, path if end is None else [*path, Ref(end.id, "data")]), self.place(mark.ref.stage)

    def of_rows(self, stage: Stage, seen: Seen) -> str:
        """The way of what was learned from the rows of a dataset to a stage."""
        start = self._before(stage, seen, lambda ref: self.flows.get(ref, Flow()).seen)
        path = self._back(start, seen, lambda ref: self.flows.get(ref, Flow()).seen)
        return self._drawn(seen.ref, [*path, Ref(stage.id, "data")])

    def _back(self, ref: Ref, mark: Mark | Seen, marks_of: MarksOf) -> list[Ref]:
        """The outputs from the one after where the mark was made up to a given one."""
        path: list[Ref] = []
        while ref != mark.ref:
            stage = self.session.stages.stages[ref.stage]
            path.append(ref)
            ref = self._before(stage, mark, marks_of)
        return path[::-1]

    def _drawn(self, start: Ref, path: list[Ref]) -> str:
        """Bindings by their names; the steps on the way to one by what they do."""
        refs = [start, *path]
        stages = [self.session.stages.stages[ref.stage] for ref in refs]
        bindings = [self.binding(stage) for stage in stages]
        steps = zip(refs, stages, bindings, [*bindings[1:], None], strict=True)
        return " -> ".join(stage.kind if name == after else self.name(ref) for ref, stage, name, after in steps)

    def binding(self, stage: Stage) -> str:
        """The name that a stage was given, whether or not another one had it before."""
        return self.session.stages.asked_name(stage)

    def _before(self, stage: Stage, mark: Mark | Seen, marks_of: MarksOf) -> Ref:
        """The input of a stage through which a mark came; another mark of the same data where the stage changed it."""
        sources = (*stage.inputs, *stage.guards)
        same = (ref for ref in sources if mark in marks_of(ref))
        other = (ref for ref in sources if any(each.ref == mark.ref for each in marks_of(ref)))
        return next(same, None) or next(other, mark.ref)

    def data(self, ref: Ref, reader: Stage) -> str:
        """What people call a dataset that a stage reads: how it was made, where it has no name of its own."""
        stage = self.session.stages.stages[ref.stage]
        if not stage.inputs or self.binding(stage) != self.binding(reader):
            return self.name(ref)
        return f"{self.data(stage.inputs[0], stage)} |> {stage.kind}"

    def name(self, ref: Ref) -> str:
        """What people call an output."""
        stage = self.session.stages.stages[ref.stage]
        if stage.kind in ("split", "load") and ref.port != "data":
            return f"{self.binding(stage)}.{ref.port}"
        return "predict" if stage.kind == "predict" else self.binding(stage)

    def place(self, id: str) -> Location:
        """Where a stage stands in the recipe."""
        return self.session.places[id]
