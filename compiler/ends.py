"""What a recipe is after: the stages whose results its claims, its report, its numbers and its models show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from etude.compiler.values import Chain, Deferred, Fitted, Model, Output, Record, Replaced, Tokenizer, Trained, Wrapper


def end_stages(values: Iterable[Any]) -> list[str]:
    """The stages that make the measured values, tables, figures and trained models among the values of bindings.

    Datasets are not ends: they are there for what is made of them.
    """
    seen: set[int] = set()
    return list(dict.fromkeys(stage for value in values for stage in _ends(value, seen)))


def _ends(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, Deferred):
        yield from (ref.stage for ref in value.refs())
    elif isinstance(value, Output | Fitted | Tokenizer):
        yield value.ref.stage
    elif isinstance(value, Model):
        yield from _trainings(value, seen)
    elif isinstance(value, Record):
        for item in value.values():
            yield from _ends(item, seen)
    elif isinstance(value, list):
        for item in value:
            yield from _ends(item, seen)


def _trainings(model: Model, seen: set[int]) -> Iterator[str]:
    """The stages that a model's weights come from, as far as its own and not its stages' inputs say.

    Nothing is told twice of what is in `seen`, by its id: each of a long chain of trainings has all before it.
    """
    while isinstance(model, Wrapper):
        if id(model) in seen:
            return
        seen.add(id(model))
        if isinstance(model, Trained):
            yield model.training.stage
        elif isinstance(model, Replaced):
            for part in model.replacement.models.values():
                yield from _trainings(part, seen)
        model = model.base
    for part in model.parts if isinstance(model, Chain) else ():
        if isinstance(part, Model):
            yield from _trainings(part, seen)
