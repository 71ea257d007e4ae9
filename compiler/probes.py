"""`watch`: measures of the models while they learn, written into the history.

A probe is evaluated once, on stand-ins for the models as they are after some step. What it measures becomes part of the
training's spec rather than stages of the graph: the training asks for it with its current weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import field

from etude.compiler import faults
from etude.compiler.builtins.data import function_argument
from etude.compiler.calls import CallSite
from etude.compiler.slots import Inputs
from etude.compiler.stages import StageTable
from etude.compiler.values import Deferred, Record, describe
from etude.compiler.workflow import Ref, Stage

PROBED = "@"
NOW = f"{PROBED}now"


class ProbeStages(StageTable):
    """The table of stages while probes are evaluated: what depends on the stand-ins stays outside of the graph."""

    graph: StageTable = field(default_factory=StageTable)
    probed: dict[str, Stage] = field(default_factory=dict)
    site: CallSite | None = None

    def add(
        self, kind: str, spec: Mapping[str, Any], inputs: Sequence[Ref], outputs: Mapping[str, str], **about: Any
    ) -> str:
        if not any(ref.stage.startswith(PROBED) for ref in inputs):
            return self.graph.add(kind, spec, inputs, outputs, **about)
        if kind != "measure":
            assert self.site is not None
            text = f"a probe measures: this one would need a stage '{kind}' each time that it looks"
            help = "take measure, accuracy, and what is computed from them, on data that does not depend on the model"
            raise faults.wrong_value(text, self.site.at("watch"), help)
        id = f"{PROBED}{len(self.probed) + 1}"
        self.probed[id] = Stage(id, about["name"], kind, spec, tuple(inputs), outputs)
        return id


def watched(
    site: CallSite, watch: Any, models: Mapping[str, Any], period: Mapping[str, Any], inputs: Inputs
) -> dict[str, Any] | None:
    """The field of the spec: what is measured (its inputs are those of the training, or a port of it), and of that
    each probe's value. `models` are the stand-ins, with weights from ports of `NOW`."""
    if watch is None:
        return None
    if not isinstance(watch, Record) or not watch:
        text = "a record of functions of the model: {name: m => ...}"
        raise faults.wrong_kind("'watch' of 'train'", text, describe(watch), site.at("watch"))
    argument = next(iter(models.values())) if len(models) == 1 else Record(models)
    table = ProbeStages(
        limit=site.session.stages.limit, stages=site.session.stages.stages, graph=site.session.stages, site=site
    )
    known = table.probed
    places: dict[str, int] = {}
    measures: list[dict[str, Any]] = []

    def place(ref: Ref) -> Any:
        """A value that a probe is computed from: measured with the current weights, or known already."""
        if ref.stage not in known:
            return ["input", _known(inputs.index(ref))]
        if ref.stage not in places:
            places[ref.stage] = len(measures)
            measures.append(_measure(site, known[ref.stage], inputs))
        return ["input", places[ref.stage]]

    def _known(index: int) -> int:
        measures.append({"value": index})
        return len(measures) - 1

    probes = {}
    for name, function in watch.items():
        found = _evaluated(site, function_argument(site, function, "watch"), argument, table)
        if not isinstance(found, Deferred) or found.kind not in {"number", "bool"}:
            text = f"the probe '{name}'"
            raise faults.wrong_kind(
                text, "a measured number, as of accuracy(m, on = d)", describe(found), site.at("watch")
            )
        if not any(ref.stage in known for ref in found.refs()):
            text = f"the probe '{name}' does not look at the model that learns"
            raise faults.wrong_value(text, site.at("watch"), "use the function's parameter: m => accuracy(m, on = d)")
        probes[name] = _placed(found.expression, place)
    return {"every": dict(period), "probes": probes, "measures": measures}


def _evaluated(site: CallSite, function: Any, argument: Any, table: ProbeStages) -> Any:
    outer, site.session.stages = site.session.stages, table
    try:
        return site.evaluator.call(function, [argument], {}, site.at("watch"))
    finally:
        site.session.stages = outer


def watch_inputs(watch: Mapping[str, Any], others: Sequence[int]) -> dict[str, int]:
    """The inputs of a training that only its probes look at."""
    used = [each["value"] for each in watch["measures"] if "value" in each]
    used += [index for each in watch["measures"] for index in each.get("inputs", ()) if isinstance(index, int)]
    found = sorted(set(used) - set(others))
    return {str(number): index for number, index in enumerate(found, 1)}


def _measure(site: CallSite, stage: Stage, inputs: Inputs) -> dict[str, Any]:
    if stage.spec.get("trees"):
        raise faults.wrong_value("a probe measures numbers, and this is a tree", site.at("watch"))
    places: list[Any] = []
    for ref in stage.inputs:
        if ref.stage == NOW:
            places.append({"port": int(ref.port)})
        else:
            places.append(inputs.index(ref))
    return {"spec": dict(stage.spec), "inputs": places}


def _placed(value: Any, place: Any) -> Any:
    """An expression with what it is computed from as places."""
    if isinstance(value, dict):
        return {key: _placed(item, place) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) == 3 and value[0] == "ref":
            return place(Ref(value[1], value[2]))
        return [_placed(item, place) for item in value]
    return value
