"""Losses over all alignments of two sequences."""

from __future__ import annotations

from etude.backends.ops.rowwise import batch_wise
from etude.backends.ops.shapes import shape_text
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim
from etude.backends.program.types import TensorType


def _ctc(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    logits, labels = types[:2]
    if logits.rank < 2:
        raise OperandError(f"expected logits [..., steps, classes], got {logits}", operand=0)
    lead = logits.shape[:-2]
    if labels.rank != logits.rank - 1 or labels.shape[:-1] != lead:
        wanted = f"{shape_text(lead)} and one more axis"
        raise OperandError(f"logits {logits} need labels with the axes {wanted}, got {labels}", operand=1)
    if any(not isinstance(dim, int) or dim < 1 for dim in (logits.shape[-2], labels.shape[-1])):
        raise OperandError("the numbers of steps and labels are known and at least 1", operand=1)
    for index, kind in enumerate(types[2:], 2):
        if kind.shape != lead:
            raise OperandError(f"expected a length for each sequence, {shape_text(lead)}, got {kind}", operand=index)
    classes = logits.shape[-1]
    if isinstance(classes, int) and not 0 <= attributes["blank"] < classes:
        raise OperandError(f"the blank is one of the {classes} classes, got {attributes['blank']}")
    return (TensorType("float32", lead),)


def _spelling(types: Types, attributes: Attributes) -> str:
    given = [name for name in ("length", "label_length") if name in attributes["has"]]
    options = "".join(f", {name}={{{name}}}" for name in given)
    return f"ctc({{logits}}, {{labels}}{options}{', blank={blank}' if attributes['blank'] else ''})"


def _flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    states = 2 * types[1].shape[-1] + 1
    return types[0].size * 3 + results[0].size * types[0].shape[-2] * states * 10


ROWS = (
    Operation(
        name="ctc",
        signature="logits: float, labels: int, length: int = none, label_length: int = none, blank: integer = 0",
        infer=_ctc,
        numpy=_spelling,
        torch=_spelling,
        jax=_spelling,
        rows=batch_wise,
        flops=_flops,
        doc="-log of the probability of labels under all alignments (Graves et al., 2006), for each sequence: logits "
        "[..., steps, classes], labels [..., labels]; lengths say how much of each counts. 1e30 where none fits.",
    ),
)
