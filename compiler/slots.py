"""The weights that one stage needs: which origin stands in which slot, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct, field

from etude.backends.program.dims import evaluate
from etude.backends.program.ir import Module, Slot, Sub
from etude.backends.program.types import TensorType
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.tracing import Origins
from etude.compiler.values import (
    AnyOrigin,
    FrozenOrigin,
    KeptOrigin,
    Origin,
    SlowOrigin,
    StartOrigin,
    TrainedOrigin,
    ValueOrigin,
    is_weight,
)
from etude.compiler.workflow import Ref


class Inputs(Struct):
    """The inputs of a stage, each once, in the order of first mention."""

    refs: list[Ref] = field(default_factory=list)

    def index(self, ref: Ref) -> int:
        if ref not in self.refs:
            self.refs.append(ref)
        return self.refs.index(ref)


class SlotTable(Struct):
    """Slots by origin. `seed` fills in for fresh weights that were given none; `frozen` are those of frozen models."""

    inputs: Inputs
    seed: int
    origins: dict[AnyOrigin, int] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    frozen: set[AnyOrigin] = field(default_factory=set)

    def modules(self, sub: Sub, origins: Sequence[Origins]) -> tuple[Module, ...]:
        """The modules of a traced function's children."""
        return tuple(
            self._module(child.sub, tree, child.name) for child, tree in zip(sub.children, origins, strict=True)
        )

    def _module(self, sub: Sub, origins: Origins, path: str) -> Module:
        slots = tuple(
            self._slot(slot, origin, f"{path}.{slot.name}")
            for slot, origin in zip(sub.slots, origins.slots, strict=True)
        )
        children = tuple(
            self._module(child.sub, tree, f"{path}.{child.name}")
            for child, tree in zip(sub.children, origins.children, strict=True)
        )
        return Module(slots, children)

    def add(self, origin: AnyOrigin, type: TensorType, path: str) -> int:
        """The slot of a tensor that no module of the stage holds."""
        return self._slot(Slot("value", type, (("kind", "zeros"),)), origin, path)

    def _slot(self, slot: Slot, origin: AnyOrigin, path: str) -> int:
        if isinstance(origin, FrozenOrigin):
            origin = origin.of
            self.frozen.add(origin)
        if origin not in self.origins:
            self.origins[origin] = len(self.entries)
            self.entries.append(self._entry(slot, origin, path))
        return self.origins[origin]

    def _entry(self, slot: Slot, origin: AnyOrigin, path: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "shape": [evaluate(dim, 1) for dim in slot.type.shape],
            "dtype": slot.type.dtype,
            "path": path,
            "init": dict(slot.init),
            "source": self.source(origin),
        }
        # the running numbers of a slow copy follow others, as its weights do
        if slot.running and not isinstance(origin, SlowOrigin | StartOrigin):
            return {**entry, "running": True}
        return entry

    def source(self, origin: AnyOrigin) -> dict[str, Any]:
        """Where the numbers of a weight come from, for the stage's spec."""
        if isinstance(origin, Origin):
            seed = self.seed if origin.seed is None else origin.seed
            return {"fresh": {"structure": origin.structure, "ordinal": origin.ordinal, "seed": seed}}
        if type(origin) is TrainedOrigin:
            return {"input": self.inputs.index(origin.ref), "index": origin.index}
        if isinstance(origin, SlowOrigin | StartOrigin | FrozenOrigin | KeptOrigin):
            return self.source(origin.of)
        if isinstance(origin, ValueOrigin):
            return {"input": self.inputs.index(origin.made()), "index": 0}
        return {"input": self.inputs.index(origin.ref), "index": origin.index}


def warn_about_fresh(
    site: CallSite, slots: SlotTable, live: Collection[int] = (), copies: Collection[int] = ()
) -> None:
    """Warn when a stage uses weights that nothing trains, or when two models learn from equal starts.

    `live` are the slots that learn, `copies` those that follow others.
    """
    starts = {index for origin, index in slots.origins.items() if isinstance(origin, StartOrigin)}
    chosen = {index for origin, index in slots.origins.items() if is_weight(origin) and origin.fresh.is_chosen}
    firsts: dict[str, str] = {}
    place = site.session.place(site.location)
    for index, entry in enumerate(slots.entries):
        fresh = entry["source"].get("fresh")
        if fresh is None:
            continue
        model = entry["path"].split(".")[0]
        if index in copies or index in starts or (live and entry.get("running")):
            continue
        if index not in live and index in chosen:
            continue
        if index not in live:
            site.session.diagnostics.add(faults.fresh_frozen(model, place))
            continue
        first = firsts.setdefault(str(fresh), model)
        if first != model:
            site.session.diagnostics.add(faults.equal_models(first, model, place))
