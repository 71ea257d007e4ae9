"""Find the stages that do the same for another member of a sweep, another seed, or another round of a loop."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from etude.compiler.workflow import Ref, Stage, Workflow

_BRACKETS = re.compile(r"\.?\[[^\[\]]*\]")
_COPY = re.compile(r"#\d+")
_SETTING = re.compile(r"\[([^\[\]]*)\]")


@lru_cache(maxsize=1 << 16)
def stem(name: str) -> str:
    """A name without what distinguishes the members of a sweep.

    >>> stem("runs[lr=0.001, seed=3].teacher#2")
    'runs.teacher'
    """
    return _COPY.sub("", _BRACKETS.sub("", name))


def settings(name: str) -> dict[str, str]:
    """What distinguishes a member, by name; a bare index is under "".

    >>> settings("runs[lr=0.001, seed=3].final[0]")
    {'lr': '0.001', 'seed': '3', '': '0'}
    """
    found: dict[str, str] = {}
    for text in _SETTING.findall(name):
        for part in text.split(","):
            key, equals, value = part.strip().partition("=")
            found[key if equals else ""] = value if equals else key
    return found


def is_feedback(source: Stage, target: Stage) -> bool:
    """Whether the edge goes from one round of a loop, or one member of a sweep, to another one of the same."""
    return any(a != b and stem(a) == stem(b) for a, b in zip(source.group, target.group, strict=False))


def repeat_classes(workflow: Workflow) -> Mapping[str, str]:
    """Give each stage the first stage that it is a repetition of (itself, mostly).

    Two stages are repetitions when they are of one kind, have one name up to the bracketed part, and their inputs
    are the same outputs of repetitions. An input from another round of the same loop counts by its name only, one
    from the first member of a sweep, which takes it likewise, as what it is.
    """
    first: dict[tuple[object, ...], str] = {}
    classes: dict[str, str] = {}
    takers = {_taking(stage, place, ref): stage.group for stage, place, ref in _uses(workflow)}
    for stage in workflow.stages.values():
        key = (
            stage.kind,
            _own_stem(stage),
            tuple(map(stem, stage.group)),
            tuple(
                _input_class(workflow, stage, ref, classes, takers.get(_taking(stage, place, ref)))
                for place, ref in enumerate(stage.inputs)
            ),
        )
        classes[stage.id] = first.setdefault(key, stage.id)
    return classes


def _uses(workflow: Workflow) -> Iterator[tuple[Stage, int, Ref]]:
    """What each stage takes from another one of its own member or round."""
    for stage in workflow.stages.values():
        for place, ref in enumerate(stage.inputs):
            if workflow.stages[ref.stage].group == stage.group:
                yield stage, place, ref


def _taking(stage: Stage, place: int, ref: Ref) -> tuple[object, ...]:
    return stage.kind, _own_stem(stage), place, ref


def _own_stem(stage: Stage) -> str:
    """The name up to the bracketed part; nothing where a stage has none but the name of its group, or of its kind.

    Which of a group's stages bears the name of the group depends on which of them other members share.
    """
    name = stem(stage.name)
    outer = stem(stage.group[-1]) if stage.group else None
    return stage.label if outer is not None and name in (outer, f"{outer}.{stage.kind}") else name


def _input_class(
    workflow: Workflow, stage: Stage, ref: Ref, classes: Mapping[str, str], taker: tuple[str, ...] | None
) -> tuple[str, ...]:
    """`taker` is the group of a stage like this one that takes the same from its own member."""
    source = workflow.stages[ref.stage]
    if is_feedback(source, stage) and taker is None:
        return ("earlier round", source.kind, stem(source.name), ref.port)
    return (classes[ref.stage], ref.port)


def sweep_text(names: list[str]) -> str:
    """What varies over the members, in few words.

    >>> sweep_text(["r[seed=1, lr=0.1]", "r[seed=2, lr=0.1]", "r[seed=3, lr=0.1]"])
    'seed 1…3'
    """
    values: dict[str, list[str]] = {}
    for name in names:
        for key, value in settings(name).items():
            values.setdefault(key, []).append(value)
    parts = []
    for key, found in values.items():
        distinct = list(dict.fromkeys(found))
        if key and len(distinct) > 1:
            parts.append(f"{key} {_range_text(distinct)}")
    return ", ".join(parts)


def _range_text(values: list[str]) -> str:
    if len(values) <= 2:
        return ", ".join(values)
    return f"{values[0]}…{values[-1]}"
