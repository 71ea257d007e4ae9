"""Probes of a training: measures with the weights of all slots as they are after a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.runtime.expressions import Evaluation
from etude.runtime.stages import Job

if TYPE_CHECKING:
    from etude.backends.base import Array

Json = Any


@dataclass(frozen=True, kw_only=True)
class ProbeJob(Job):
    """A measure within a training: the inputs that are ports of the training have its current weights."""

    current: Mapping[int, list[Array]]

    def weights(self, index: int) -> list[Array]:
        found = self.current.get(index)
        return super().weights(index) if found is None else found


def probes(job: Job, spec: Mapping[str, Json]) -> Callable[[list[Array]], dict[str, Json]] | None:
    """What gives the columns of the history for the probes of a training; None where it has none."""
    watch = spec.get("watch")
    if watch is None:
        return None

    def look(weights: list[Array]) -> dict[str, Json]:
        values = [_value(job, spec, each, weights) for each in watch["measures"]]
        found = {name: Evaluation(values).value(expression) for name, expression in watch["probes"].items()}
        return {f"watch.{name}": float(value) if isinstance(value, bool) else value for name, value in found.items()}

    return look


def _value(job: Job, spec: Mapping[str, Json], measure: Mapping[str, Json], weights: list[Array]) -> Json:
    from etude.runtime.stages.measure import execute

    if "value" in measure:
        return job.value(measure["value"])
    ports = {i: place["port"] for i, place in enumerate(measure["inputs"]) if isinstance(place, dict)}
    current = {i: [weights[slot] for slot in spec["results"][port]] for i, port in ports.items()}
    inputs = [None if i in ports else job.inputs[place] for i, place in enumerate(measure["inputs"])]
    given = {name: getattr(job, name) for name in job.__dataclass_fields__}
    inner = ProbeJob(**given | {"kind": "measure", "spec": measure["spec"], "inputs": inputs}, current=current)
    return job.store.read_json(execute(inner).outputs["value"])
