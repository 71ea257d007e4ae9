"""How many classes there are on both sides where class numbers or scores meet a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etude.compiler import faults
from etude.compiler.diagnostics import Location, Related
from etude.compiler.values import Tensor

if TYPE_CHECKING:
    from etude.compiler.tracing import Frame

CHOOSING = {"argmax", "argmin", "top_k"}


def check_class_counts(
    frame: Frame, name: str, values: Sequence[Any], attributes: Mapping[str, Any], location: Location
) -> None:
    """Refuse an operation whose operands are of different numbers of classes, as far as that can be told."""
    match name:
        case "cross_entropy" if len(values) > 1 and isinstance(values[0], Tensor) and isinstance(values[1], Tensor):
            check_scores("the logits have", values[0], values[1], location)
            if frame.vocabularies:
                from etude.compiler.vocabularies import check_classes

                check_classes(frame, values[0], values[1], location)
        case "one_hot" if isinstance(values[0], Tensor):
            classes, count = values[0].classes, attributes["classes"]
            if classes is not None and isinstance(count, int) and count < classes:
                related = [Related(values[0].location, f"this is below {classes}")]
                help = f"one class for each: one_hot(..., {classes})"
                raise faults.class_count(f"one_hot has {count}", classes, location, related + made_at(values[0]), help)
        case "eq" | "ne":
            for guess, label in (values, values[::-1]):
                check_choice(frame, guess, label, location)


def check_scores(what: str, scores: Tensor, labels: Tensor, location: Location) -> None:
    """Refuse scores, one for each class on their last axis, that are not as many as the classes of the label."""
    shape = scores.type.shape
    if labels.classes is not None and shape and shape[-1] != labels.classes:
        places = [Related(each.location, f"this is {each.type}") for each in (scores, labels)]
        raise faults.class_count(f"{what} {shape[-1]}", labels.classes, location, places + made_at(labels))


def check_choice(frame: Frame, guess: Any, label: Any, location: Location) -> None:
    """Refuse a place among scores that is compared with a label of more or fewer classes."""
    if not isinstance(guess, Tensor) or not isinstance(label, Tensor) or label.classes is None:
        return
    made = next((op for op in reversed(frame.builder.ops) if guess.operand in op.results), None)
    if made is None or made.name not in CHOOSING:
        return
    shape, axis = made.operands[0].type.shape, made.attrs.get("axis")
    axis = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
    count = shape[axis] if isinstance(axis, int) else shape[0] if len(shape) == 1 else None
    if isinstance(count, int) and count != label.classes:
        related = [Related(guess.location, f"a place among {count}")]
        raise faults.class_count(
            f"{made.name} chooses among {count}", label.classes, location, related + made_at(label)
        )


def made_at(label: Tensor) -> list[Related]:
    """Where a tensor was made a label, as a secondary place."""
    return (
        [] if label.made_at is None else [Related(label.made_at, f"the label is made here, of {label.classes} classes")]
    )
