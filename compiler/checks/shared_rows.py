"""Which datasets of a graph may have rows in common, and whether rows that belong together stay together."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct, field

from etude.compiler import faults
from etude.compiler.diagnostics import Diagnostic
from etude.compiler.lineage import Lineage, are_disjoint, are_of_one_source, lineage_of, share_a_root, source_of
from etude.compiler.session import Session
from etude.compiler.workflow import Ref, Stage


class SharedRows(Struct):
    """The lineages of the datasets made so far. `splits` are stages whose parts are disjoint, `roots` what was loaded
    or made by others; `grouped` and `by_row` have the splits of the rows of a dataset with their columns of groups."""

    session: Session
    lineages: dict[Ref, Lineage] = field(default_factory=dict)
    splits: list[str] = field(default_factory=list)
    roots: set[Ref] = field(default_factory=set)
    loaded: dict[Ref, str] = field(default_factory=dict)
    grouped: dict[Ref, tuple[str, str]] = field(default_factory=dict)
    by_row: dict[Ref, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    shared: dict[tuple[Ref, Ref], Lineage] = field(default_factory=dict)

    def add(self, stage: Stage, ref: Ref) -> None:
        """A stage makes a dataset."""
        self.lineages[ref] = lineage_of(stage, ref.port, self.lineages)
        if stage.kind in ("load", "external"):
            self.roots.add(ref)
        if stage.kind == "load":
            self.loaded[ref] = source_of(stage, ref.port)

    def add_split(self, stage: Stage) -> Diagnostic | None:
        """A stage splits a dataset: the fault of cutting through groups that another split keeps whole, or None."""
        if not self._repeats(stage.inputs[0]):
            self.splits.append(stage.id)
        group = stage.spec["group"]
        if group is None and (stage.spec.get("classes") or stage.spec.get("by")):
            return None  # rows are parted by what they are, and groups with them
        refs = sorted({ref for part in self.lineages[stage.inputs[0]] for ref in part.within}, key=by_stage)
        found = self._cut(stage, group, refs)
        for ref in refs:
            if group is None:
                self.by_row.setdefault(ref, stage.id)
            else:
                self.grouped.setdefault(ref, (group, stage.id))
        return found

    def _cut(self, stage: Stage, group: str | None, refs: list[Ref]) -> Diagnostic | None:
        """The fault of a split that keeps groups whole and one that does not; told once for each of the latter."""
        for ref in refs:
            if group is None and ref in self.grouped:
                (column, whole), cutting = self.grouped[ref], stage.id
            elif group is not None and ref in self.by_row:
                column, whole, cutting = group, stage.id, self.by_row[ref]
            else:
                continue
            if cutting not in self.told:
                self.told.add(cutting)
                return faults.grouped_rows(column, self.session.places[cutting], self.session.places[whole])
        return None

    def differ(self, left: Lineage, right: Lineage) -> bool:
        """Whether two datasets have provably no row in common."""
        return are_disjoint(left, right, self.splits, self.session.disjoint)

    def common(self, ref: Ref, other: Ref) -> Lineage:
        """Those parts of one dataset that may have rows in common with another."""
        found = self.shared.get((ref, other))
        if found is None:
            known = self.lineages[other]
            found = frozenset(part for part in self.lineages[ref] if not self.differ(known, frozenset([part])))
            self.shared[ref, other] = found
        return found

    def are_of_one_source(self, left: Lineage, right: Lineage) -> bool:
        """Whether the recipe alone tells that rows may be in both: some come from the same loaded data."""
        return share_a_root(left, right, self.roots) or are_of_one_source(left, right, self.loaded, self.splits)

    def sources(self, lineage: Lineage) -> list[Ref]:
        """The smallest loaded data, or parts of it, that hold the rows of a dataset."""
        known = (part.within & self.session.sources.keys() for part in lineage)
        return sorted({max(within, key=by_stage) for within in known if within}, key=by_stage)

    def _repeats(self, ref: Ref) -> bool:
        """Whether a dataset may hold a row twice: parts of it can then have rows in common."""
        stages = self.session.stages.stages
        made = {each.stage: stages[each.stage] for part in self.lineages[ref] for each in part.within}
        return any(
            stage.kind == "episodes"
            or (stage.kind == "mix" and stage.spec["count"] is not None)
            or (stage.kind in ("union", "mix") and self._overlap(stage.inputs))
            for stage in made.values()
        )

    def _overlap(self, refs: Collection[Ref]) -> bool:
        known = [self.lineages[ref] for ref in refs]
        pairs = [(a, b) for i, a in enumerate(known) for b in known[:i] if share_a_root(a, b, self.roots)]
        return not all(self.differ(a, b) for a, b in pairs)


def by_stage(ref: Ref) -> tuple[int, str]:
    """Outputs in the order of their stages."""
    return int(ref.stage[1:]), ref.port
