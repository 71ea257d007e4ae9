"""The table of stages while a recipe is compiled: equal stages are one, names are unique."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.compiler.keys import canonical_json, spec_text
from etude.compiler.naming import port_names, result_names
from etude.compiler.workflow import Ref, Stage


class StageTable(Struct):
    """Stages in the order they were made, which is topological. `limit` bounds their number."""

    limit: int = 100_000
    stages: dict[str, Stage] = field(default_factory=dict)
    _known: dict[bytes, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _counts: dict[str, int] = field(default_factory=dict)
    _asked: dict[str, str] = field(default_factory=dict)
    _others: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        spec: Mapping[str, Any],
        inputs: Sequence[Ref],
        outputs: Mapping[str, str],
        *,
        name: str,
        group: tuple[str, ...] = (),
        label: str = "",
        line: int = 0,
        guards: tuple[Ref, ...] = (),
    ) -> str:
        """The id of the stage that does this; the one there is when an equal one was made before.

        Raises OverflowError beyond the limit.
        """
        id = f"s{len(self.stages) + 1}"
        stage = Stage(id, name, kind, spec, tuple(inputs), outputs, group, label, line, guards)
        key = _identity(stage)
        known = self._known.get(key)
        if known is not None:
            self._widen(known, guards)
            if name != self._asked.get(known, self.stages[known].name):
                self._others.setdefault(known, {})[name] = None
            return known
        if len(self.stages) >= self.limit:
            raise OverflowError(self.limit)
        self._known[key] = id
        unique = self._unique(name, kind)
        if unique != name:
            self._asked[id] = name
            stage = replace(stage, name=unique)
        self.stages[id] = stage
        return id

    def asked(self) -> dict[str, str]:
        """The names under which stages were asked for that had been taken, by their ids."""
        return dict(self._asked)

    def asked_name(self, stage: Stage) -> str:
        """The name under which a stage was asked for, also where another one has it."""
        return self._asked.get(stage.id, stage.name)

    def aliases(self) -> dict[str, tuple[str, ...]]:
        """The names under which stages were asked for again, by their ids."""
        return {id: tuple(names) for id, names in self._others.items()}

    def _widen(self, id: str, guards: tuple[Ref, ...]) -> None:
        """A stage that is wanted in two places runs when either place is reached."""
        stage = self.stages[id]
        more = [guard for guard in guards if not self._follows(guard.stage, id)]
        both = tuple(dict.fromkeys((*stage.guards, *more))) if stage.guards and guards else ()
        if both != stage.guards:
            self.stages[id] = replace(stage, guards=both)
            self._sort()

    def _sort(self) -> None:
        """Put every stage behind what it takes of and what guards it, and else leave the order as it is."""
        order: dict[str, Stage] = {}
        for id in self.stages:
            stack = [id]
            while stack:
                stage = self.stages[stack[-1]]
                waits_for = [ref.stage for ref in (*stage.guards, *stage.inputs) if ref.stage not in order]
                if waits_for and stage.id not in order:
                    stack += waits_for
                else:
                    order[stack.pop()] = stage
        self.stages.clear()
        self.stages.update(order)

    def _follows(self, id: str, earlier: str) -> bool:
        """Whether a stage can only be reached when `earlier` has run: it takes of it, or is guarded behind it."""
        seen, stack = {id}, [id]
        while stack:
            stage = self.stages[stack.pop()]
            before = {ref.stage for ref in (*stage.inputs, *stage.guards)} - seen
            if earlier in before:
                return True
            seen |= before
            stack.extend(before)
        return False

    def _unique(self, name: str, kind: str) -> str:
        """`name`; if another stage has it, with the kind added, and then a number."""
        if name not in self._names:
            self._names.add(name)
            return name
        candidates = [name, f"{name}.{kind}"]
        if all(candidate in self._names for candidate in candidates):
            self._counts[name] = self._counts.get(name, 1) + 1
            candidates = [f"{name}.{kind}#{self._counts[name]}"]
        chosen = next(candidate for candidate in candidates if candidate not in self._names)
        self._names.add(chosen)
        return chosen


def _identity(stage: Stage) -> bytes:
    """Equal for stages that do the same to the same inputs. Hashed: a hundred thousand specs are much to keep."""
    does = canonical_json(stage.spec).decode() if stage.kind == "load" else spec_text(stage)
    refs = "".join([f"{ref.stage} {ref.port}\n" for ref in stage.inputs])
    names = port_names(stage) or result_names(stage)  # of equal ones with other names each is shown by its own
    called = canonical_json([*names.items()]).decode() if names else ""
    return hashlib.blake2b(f"{stage.kind}\n{refs}{does}{called}".encode(), digest_size=16).digest()
