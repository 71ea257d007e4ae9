"""`resume`: whether a training can go on from where another one ended, and if not, the first difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from etude.backends.program.serialize import program_from_json
from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.slots import Inputs
from etude.compiler.values import Record, describe
from etude.compiler.workflow import Ref

RUN = "run"


class TrainRun(Record):
    """What a `train` gives: its models and history by name; `stage` and `spec` are for one that goes on from it."""

    def __init__(self, fields: Mapping[str, Any], stage: str, spec: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.stage, self.spec = stage, spec


def resumed(site: CallSite, resume: Any, spec: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """The field of the spec; nothing for a training that starts at its beginning."""
    if resume is None:
        return {}
    if not isinstance(resume, TrainRun):
        text = "the result of another 'train'"
        raise faults.wrong_kind("'resume' of 'train'", text, describe(resume), site.at("resume"))
    if "seconds" in resume.spec["budget"]:
        raise faults.wrong_value("a training by time has no last step to go on from", site.at("resume"))
    for what, before, now in _parts(resume.spec, spec):
        if before != now:
            text = f"the training cannot go on from '{site.session.stages.stages[resume.stage].name}': {what}"
            raise faults.wrong_kind(
                text, before, now, site.at("resume"), "lr, budget, schedule, data and what the loss computes may differ"
            )
    return {"resume": inputs.index(Ref(resume.stage, RUN))}


def _parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What both must have in common, each as a text, the most telling first."""
    yield "what it updates", _players(before), _players(now)
    yield "its slow copies", _listed(_slow(before)), _listed(_slow(now))
    for old, new in zip(before["slots"], now["slots"], strict=False):
        yield f"the weight '{new['path']}'", _weight(old), _weight(new)
    yield "the number of its weights", str(len(before["slots"])), str(len(now["slots"]))
    yield "what learns", str([s["update"] for s in before["steps"]]), str([s["update"] for s in now["steps"]])
    yield "what follows", str(before.get("ema")), str(now.get("ema"))
    yield "its state", _state(before), _state(now)
    yield "its batch", str(before["batch"]), str(now["batch"])
    for old, new in zip(before["steps"], now["steps"], strict=True):
        yield "its optimizer", _optimizer(old["optimizer"]), _optimizer(new["optimizer"])


def _players(spec: Mapping[str, Any]) -> str:
    return ", then ".join(step["name"].replace("+", ", ") for step in spec["steps"])


def _slow(spec: Mapping[str, Any]) -> list[str]:
    updated = {name for step in spec["steps"] for name in step["name"].split("+")}
    return [name for name, _ in spec["names"] if name not in updated]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _weight(slot: Mapping[str, Any]) -> str:
    return f"{slot['path']}: {slot['dtype']}{slot['shape']}{' (running)' if slot.get('running') else ''}"


def _state(spec: Mapping[str, Any]) -> str:
    if "state" not in spec:
        return "none"
    outputs = program_from_json(spec["state"]["init"]).sub.outputs
    return ", ".join(f"{name}: {value.type}" for name, value in outputs)


def _optimizer(optimizer: Mapping[str, Any]) -> str:
    groups = [group["slots"] for group in optimizer.get("groups", ())]
    rest = {name: value for name, value in optimizer.items() if name not in {"lr", "groups", "name"}}
    settings = [f"{name} = {value}" for name, value in sorted(rest.items())]
    return f"{optimizer['name']}({', '.join(settings)}){f' with groups {groups}' if groups else ''}"
