"""The programs of a stage's spec, by the name of the function that each becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etude.backends.program.decoding import write_once
from etude.backends.program.ir import StageProgram
from etude.backends.program.rows import vectorize
from etude.backends.program.serialize import program_from_json

Spec = Mapping[str, Any]


def train_programs(spec: Spec) -> dict[str, StageProgram]:
    """`loss` (or `loss_0`, `loss_1`, ... for several players), and where the spec has them, `evaluate`, `scores`,
    `copies`, which holds models and is no function, and `initial_state`."""
    steps = spec["steps"]
    programs = {
        "loss" if len(steps) == 1 else f"loss_{i}": program_from_json(step["loss"]) for i, step in enumerate(steps)
    }
    valid = spec.get("valid")
    if valid is not None:
        programs["evaluate"] = program_from_json(valid["loss"])
        if valid.get("scores") is not None:
            programs["scores"] = _of_rows(valid["scores"])
    if spec.get("copies"):
        programs["copies"] = program_from_json(spec["copies"])
    if spec.get("state"):
        programs["initial_state"] = program_from_json(spec["state"]["init"])
    return programs


def reads_clock(spec: Spec) -> bool:
    """Whether a loss reads the number of the step, or the share of the steps that are done."""
    inputs = (name for step in spec["steps"] for name, *_ in step["loss"]["subs"][-1]["inputs"])
    return not {"@step", "@progress"}.isdisjoint(inputs)


def least_parts(spec: Spec) -> int:
    """In how many parts a batch is taken at least; one for what a run has not decided yet."""
    least = spec.get("accumulate")
    return least if isinstance(least, int) else 1


def has_streams(spec: Spec) -> bool:
    """Whether the stage trains on several data sets, whose columns are named "<stream>.<column>"."""
    return isinstance(spec.get("inputs", {}).get("on"), Mapping)


def row_programs(spec: Spec) -> dict[str, StageProgram]:
    """`rows`: the row program of a stage, over a batch of rows."""
    return {"rows": _of_rows(spec["program"])}


def _of_rows(data: Any) -> StageProgram:
    program = write_once(program_from_json(data))
    return StageProgram(vectorize(program.sub), program.modules)


def title(spec: Spec, framework: str) -> str:
    """The first line of a module."""
    if "steps" in spec:
        names = [name for name, _ in spec.get("names", [])] or ["the models"]
        text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"Train {text} on {framework}."
    return f"Compute columns row by row on {framework}."
