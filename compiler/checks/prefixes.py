"""Trainings that differ in their length only: where their schedules follow it, none can go on from another."""

from __future__ import annotations

from typing import Any

from etude.compiler.diagnostics import Diagnostic, Location, Related
from etude.compiler.keys import canonical_json, canonical_spec
from etude.compiler.session import Session

LENGTH = {"budget", "schedule", "checkpoints", "results", "more"}


def check_prefixes(session: Session) -> list[Diagnostic]:
    """Warn once at each place where a longer training could have begun with a shorter one."""
    first: dict[bytes, tuple[Any, Location]] = {}
    found: dict[Location, Diagnostic] = {}
    for stage in session.stages.stages.values():
        if stage.kind != "train" or stage.spec["schedule"]["name"] == "constant":
            continue
        spec = {name: value for name, value in canonical_spec(stage).items() if name not in LENGTH}
        key = canonical_json([spec, [[ref.stage, ref.port] for ref in stage.inputs], stage.spec["schedule"]])
        place = session.places[stage.id]
        budget, other = first.setdefault(key, (stage.spec["budget"], place))
        if budget != stage.spec["budget"] and place not in found:
            found[place] = _warning(stage.spec["schedule"]["name"], place, other)
    return list(found.values())


def _warning(schedule: str, place: Location, other: Location) -> Diagnostic:
    return Diagnostic(
        "W407",
        f"these trainings differ in their budgets only, but '{schedule}' follows the budget: each begins anew",
        place,
        "shares no step with the other",
        (Related(other, "the other"),) if other != place else (),
        "under constant() the longer can go on from the shorter: train(..., resume = shorter)",
    )
