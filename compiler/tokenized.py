"""Which inputs of a model are tokens of texts, and by which tokenizer: for those who give it texts after a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etude.compiler.schema import ColumnSchema
from etude.compiler.workflow import Ref, Stage

Json = Any


def text_inputs(columns: Sequence[ColumnSchema], stages: Sequence[Stage], refs: Mapping[str, Stage]) -> list[Json]:
    """How texts become inputs of these names: the stages before the model, nearest first, tell.

    Each entry has the inputs `ids` and `mask` (or None), the `column` that the texts were in, whether they were given
    `bounds`, and the output of the stage that is the `tokenizer`.
    """
    names = {column.name for column in columns}
    found = []
    for column in columns:
        spec, tokenizer = _tokenized(column, stages, refs) or ({}, None)
        if tokenizer is not None:
            mask = spec["mask"] if spec["mask"] in names else None
            entry = {"ids": column.name, "mask": mask, "column": spec["column"], "bounds": spec["bounds"]}
            found.append({**entry, "tokenizer": [tokenizer.stage, tokenizer.port]})
    return found


def _tokenized(
    column: ColumnSchema, stages: Sequence[Stage], refs: Mapping[str, Stage]
) -> tuple[Mapping[str, Json], Ref] | None:
    """The settings of the stage that made a column from texts, and its tokenizer."""
    if column.dtype != "int32" or len(column.shape) != 1:
        return None
    for stage in stages:
        if stage.kind == "tokenize" and (stage.spec["into"], stage.spec["length"]) == (column.name, column.shape[0]):
            return stage.spec, stage.inputs[1]
        if stage.kind == "pack" and (stage.spec["column"], stage.spec["length"]) == (column.name, column.shape[0]):
            before = next((each for each in _before(stage, refs) if each.kind == "tokenize"), None)
            return None if before is None else (before.spec, before.inputs[1])
    return None


def _before(stage: Stage, refs: Mapping[str, Stage]) -> Iterator[Stage]:
    """The stages that a stage is made from, one after the other on the way of its data."""
    while stage.inputs:
        stage = refs[stage.inputs[0].stage]
        yield stage


def was_bounded(stages: Sequence[str], tokenizer: Ref, refs: Mapping[str, Stage]) -> bool:
    """Whether any texts began with `bos` that the last trainings before these stages, or these themselves, were given.

    Texts of other tokenizers do not count, and neither do those of the trainings before.
    """
    trainings: set[str] = set()
    for id in _reached(stages, refs, lambda stage: stage.kind != "train"):
        if refs[id].kind == "train":
            trainings |= {ref.stage for ref in refs[id].inputs}
    read = [refs[id] for id in _reached(sorted(trainings), refs, lambda stage: stage.kind != "train")]
    tokens = [stage for stage in read if stage.kind == "tokenize" and stage.inputs[1] == tokenizer]
    return any(stage.spec["bounds"] for stage in tokens)


def _reached(starts: Sequence[str], refs: Mapping[str, Stage], goes_on: Callable[[Stage], bool]) -> set[str]:
    """The stages that others are made from, as far back as it goes on."""
    waiting, seen = list(starts), set(starts)
    while waiting:
        stage = refs[waiting.pop()]
        before = {ref.stage for ref in stage.inputs} - seen if goes_on(stage) else set()
        seen |= before
        waiting += before
    return seen
