"""What a `train` gives: models whose weights come from the ports of its stage, and what else can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from etude.compiler.builtins.data import add_stage
from etude.compiler.calls import CallSite
from etude.compiler.continuing import RUN, TrainRun
from etude.compiler.instances import model_name
from etude.compiler.players import TrainTrace
from etude.compiler.probes import NOW
from etude.compiler.slots import Inputs, SlotTable
from etude.compiler.train_settings import budget_text
from etude.compiler.updated import gathered
from etude.compiler.values import (
    Deferred,
    Measured,
    Model,
    Output,
    Record,
    TrainedOrigin,
    Training,
)
from etude.compiler.workflow import Ref, Stage
from etude.compiler.wrappers import apply_training

STATE = "state"
OPTIONAL = {RUN, STATE}


def finished(site: CallSite, spec: dict[str, Any], inputs: Inputs, traced: TrainTrace, slots: SlotTable) -> TrainRun:
    """Add the stage; the models that it updates, its history, and with `keep = all` its checkpoints."""
    count = len(spec["results"])
    outputs = {str(i): "Model" for i in range(count)} | {"history": "History"}
    for number in range(spec.get("checkpoints", {}).get("count", 0)):
        outputs |= {f"{number}.{i}": "Model" for i in range(count)}
    outputs |= {"checkpoints": "Table"} if "checkpoints" in spec else {}
    outputs |= {STATE: "Tensor"} if traced.state else {}
    shown = [_shown_name(result, model) for result, model in traced.results.items()]
    label = f"{', '.join(shown)} · {budget_text(spec['budget'])}"
    id = add_stage(site, "train", spec, inputs.refs, {**outputs, RUN: "Run"}, label)
    name = site.session.stages.stages[id].name
    history = Ref(id, "history")
    learnt = Training(id, {}, history)
    fields: dict[str, Any] = gathered(_models(spec, traced, slots, learnt))
    site.session.memo["training", id] = learnt
    site.session.memo["slots", id] = slots
    fields["history"] = Output("history", history, name)
    if traced.state:
        fields["state"] = Record(
            {n: Measured(type, Ref(id, STATE), index) for index, (n, type) in enumerate(traced.state.items())}
        )
    if "checkpoints" in spec:
        steps = {n: ["field", ["ref", id, "checkpoints"], n] for n in ("step", "epoch")}
        fields["checkpoints"] = [
            Record(
                {
                    **{n: Deferred(["at", expression, number]) for n, expression in steps.items()},
                    **gathered(_models(spec, traced, slots, Training(id, {}, history), f"{number}.")),
                }
            )
            for number in range(spec["checkpoints"]["count"])
        ]
    return TrainRun(fields, id, spec)


def stand_ins(spec: Mapping[str, Any], traced: TrainTrace, slots: SlotTable) -> dict[str, Model]:
    """The models of a training as they are after any of its steps, for probes."""
    return _models(spec, traced, slots, Training(NOW, {}, None))


def _models(
    spec: Mapping[str, Any], traced: TrainTrace, slots: SlotTable, learnt: Training, prefix: str = ""
) -> dict[str, Model]:
    """The models of a result with their weights from the ports of a stage that begin with `prefix`."""
    by_slot = {index: origin for origin, index in slots.origins.items()}
    stage = learnt.stage
    models: dict[str, Model] = {}
    for port, (result, model) in enumerate(traced.results.items()):
        training = Training(stage, {}, learnt.history) if result in traced.slow else learnt
        for position, index in enumerate(spec["results"][port]):
            origin = traced.replaced_by(result, by_slot[index])
            training.updated[origin] = TrainedOrigin(Ref(stage, f"{prefix}{port}"), position, origin.fresh)
        models[result] = apply_training(model, training)
    return models


def _shown_name(result: str, model: Model) -> str:
    """What a drawing calls an updated model: its own name where the library only says `model`."""
    own = model_name(model)
    return own if result == "model" and own != "chain" else result


def with_wanted_ports(stages: Mapping[str, Stage], shown: set[Ref]) -> dict[str, Stage]:
    """The stages with those optional outputs that something reads, which are told in their specs."""
    used = shown | {ref for stage in stages.values() for ref in (*stage.inputs, *stage.guards)}
    return {id: _with_ports(stage, used) if stage.kind == "train" else stage for id, stage in stages.items()}


def _with_ports(stage: Stage, used: set[Ref]) -> Stage:
    unused = {port for port in OPTIONAL & stage.outputs.keys() if Ref(stage.id, port) not in used}
    outputs = {port: kind for port, kind in stage.outputs.items() if port not in unused}
    more = sorted(OPTIONAL & outputs.keys())
    spec = {**stage.spec, "more": more} if more else stage.spec
    return replace(stage, outputs=outputs, spec=spec)
