"""The picture of a compiled recipe: stages, what flows between them, the functions and sweeps that they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath

from etude.compiler.draw.frames import framed
from etude.compiler.draw.picture import TIMES, Arrow, Box, Picture
from etude.compiler.draw.repeats import is_feedback, repeat_classes, stem, sweep_text
from etude.compiler.workflow import Claim, Stage, Workflow

REPORT_ID = "report"
PLAIN_PORTS = {"", "data", "value", "verdict", "table", "figure"}
KIND_NAMES = {
    "load": "data source",
    "column": "data source",
    "train": "training",
    "edit": "computed weights",
    "measure": "measurement",
    "collect": "measurement",
    "latency": "measurement",
    "compute": "computed number",
    "tensor": "computed number",
    "require": "condition",
    "claim": "claim",
    "report": "report",
    "table": "report",
    "plot": "report",
    "heatmap": "report",
}
OTHERS = "made from data or models"


def workflow_picture(
    workflow: Workflow,
    *,
    expand: bool = False,
    states: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
) -> Picture:
    """Draw a workflow; without `expand`, repeated stages are one box with a badge.

    `states` says of stages (by id) that they are "cached" or "failed", of claims how they fell. `classes` are the
    repetitions where they are known already.
    """
    if classes is None:
        classes = {name: name for name in workflow.stages} if expand else repeat_classes(workflow)
    groups: dict[str, list[Stage]] = {}
    for stage in workflow.stages.values():
        groups.setdefault(classes[stage.id], []).append(stage)
    claims = {claim.stage: claim for claim in workflow.claims}
    naming = (lambda name: name) if expand else stem
    boxes = [_box(members, claims, states or {}, naming) for members in groups.values()]
    boxes += _report_box(workflow)
    arrows = _arrows(workflow, classes)
    boxes = [replace(box, ports=_ports(box.id, arrows)) for box in boxes]
    picture = Picture(
        title=PurePath(workflow.recipe).stem, boxes=tuple(boxes), arrows=tuple(arrows), kinds=_kinds(boxes)
    )
    return framed(picture, groups, naming)


def _box(
    members: list[Stage], claims: Mapping[str, Claim], states: Mapping[str, str], naming: Callable[[str], str]
) -> Box:
    first, names = members[0], [stage.name for stage in members]
    claim = claims.get(first.id)
    title = claim.text if claim else own_name(first, naming)
    note = (claim.because or "") if claim else _note(members)
    return Box(
        id=first.id,
        title=title,
        kind=first.kind,
        note=note,
        badge=f"{TIMES}{len(members)}" if len(members) > 1 else "",
        frame=tuple(naming(name) for name in first.group),
        state=_state([states.get(stage.id, "") for stage in members]),
        tip=_tip(members),
        names=tuple(names),
    )


def _ports(id: str, arrows: list[Arrow]) -> tuple[str, ...]:
    """The labelled outputs in use, if arrows leave by two or more."""
    ports = tuple(
        dict.fromkeys(arrow.label for arrow in arrows if arrow.source == id and arrow.label and not arrow.is_condition)
    )
    return ports if len(ports) > 1 else ()


def own_name(stage: Stage, naming: Callable[[str], str]) -> str:
    """A stage's name without the part that the frame around it says already."""
    name = naming(stage.name)
    for outer in reversed(stage.group):
        prefix = naming(outer)
        if name.startswith((prefix + ".", prefix + "[")):
            return name[len(prefix) :].lstrip(".")
        if name == prefix:
            break
    return name.rpartition(".")[2] if stage.group and "[" not in name.rpartition(".")[2] else name


def _note(members: list[Stage]) -> str:
    """The kind and the settings that all members share."""
    kind = members[0].kind
    labels = {stage.label for stage in members}
    return f"{kind} · {labels.pop()}" if len(labels) == 1 and "" not in labels else kind


def _state(states: list[str]) -> str:
    distinct = set(states)
    if len(distinct) == 1:
        return states[0]
    for worst in ("failed", "fails", "cannot tell"):
        if worst in distinct:
            return worst
    return "partly cached" if "cached" in distinct else ""


def _tip(members: list[Stage]) -> str:
    first, varies = members[0], sweep_text([stage.name for stage in members])
    lines = [first.name if len(members) == 1 else f"{len(members)} stages like {first.name}"]
    lines += [first.label] if first.label else []
    lines += [varies] if varies else []
    return "\n".join([*lines, f"line {first.line}"] if first.line else lines)


def _report_box(workflow: Workflow) -> list[Box]:
    if not workflow.report:
        return []
    return [Box(id=REPORT_ID, title="report", kind="report", note=", ".join(name for name, _ in workflow.report))]


def _arrows(workflow: Workflow, classes: Mapping[str, str]) -> list[Arrow]:
    merged: dict[tuple[str, str, str, str, bool], Arrow] = {}

    def add(source: str, port: str, target: str, is_back: bool) -> None:
        full = workflow.stages[source].outputs.get(port, "")
        label = "" if port in PLAIN_PORTS or port.isdigit() else port
        ends = (classes[source], classes.get(target, target))
        key = (*ends, label, short_type(full), is_back)
        known = merged.get(key)
        if known:
            merged[key] = replace(known, count=known.count + 1)
            return
        merged[key] = Arrow(
            source=ends[0], target=ends[1], type=short_type(full), label=label, full_type=full, is_feedback=is_back
        )

    order = {name: i for i, name in enumerate(dict.fromkeys(classes.values()))}
    for stage in workflow.stages.values():
        for ref in stage.inputs:
            between_rounds = is_feedback(workflow.stages[ref.stage], stage)
            is_back = between_rounds and order[classes[ref.stage]] >= order[classes[stage.id]]
            add(ref.stage, ref.port, stage.id, is_back)
    for _, ref in workflow.report:
        add(ref.stage, ref.port, REPORT_ID, False)
    return [*merged.values(), *_conditions(workflow, classes, order)]


def _conditions(workflow: Workflow, classes: Mapping[str, str], order: Mapping[str, int]) -> Iterator[Arrow]:
    """Arrows from what decides whether stages are run, to the first ones of them."""
    seen: set[tuple[str, str]] = set()
    for stage in workflow.stages.values():
        before = {guard for ref in stage.inputs for guard in workflow.stages[ref.stage].guards}
        for guard in stage.guards:
            ends = (classes[guard.stage], classes[stage.id])
            if guard not in before and ends not in seen:
                seen.add(ends)
                is_back = order[ends[0]] >= order[ends[1]]
                yield Arrow(source=ends[0], target=ends[1], label="if", is_feedback=is_back, is_condition=True)


def short_type(text: str) -> str:
    """The head of a type.

    >>> short_type("Dataset[1078 rows {image: float32[8, 8, 1]}]")
    'Dataset'
    """
    for end, char in enumerate(text):
        if char in "[{(<":
            return text[:end].strip() or text[:24]
    return text.strip()


def _kinds(boxes: list[Box]) -> dict[str, str]:
    """The legend: a name for each family of kinds that is there."""
    return {box.kind: KIND_NAMES.get(box.kind, OTHERS) for box in boxes}
