"""Eigenvalues, singular values and the Fourier transform: what frameworks give differently is pinned.

Eigenvectors and singular vectors have no sign of their own: in each the component of the largest magnitude, of equal
ones the first, is positive. Gradients are those for distinct values.
"""

from __future__ import annotations

from etude.backends.ops.rowwise import batch_wise
from etude.backends.ops.shapes import ranked
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, Size, coefficients
from etude.backends.program.types import TensorType


def _eigh(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind = types[0]
    if kind.rank < 2 or kind.shape[-1] != kind.shape[-2]:
        raise OperandError(f"eigh takes a square matrix (the last two axes), got {kind}", operand=0)
    return kind.with_shape(kind.shape[:-1]), kind


def _svd(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind = types[0]
    ranked(kind, 2, None, "a matrix (the last two axes)", 0)
    *lead, rows, columns = kind.shape
    least = _least(rows, columns)
    shapes = ((*lead, rows, least), (*lead, least), (*lead, least, columns))
    return tuple(kind.with_shape(shape) for shape in shapes)


def _least(rows: Dim, columns: Dim) -> Dim:
    """The smaller of two dimensions; of one that grows with the batch and a number it is not known."""
    if isinstance(rows, Size) != isinstance(columns, Size):
        raise OperandError("which side of the matrix is longer depends on the batch", operand=0, hint="take x.T @ x")
    return min(rows, columns, key=coefficients)


def _cubic(types: Types, results: Types, attributes: Attributes) -> Dim:
    return types[0].size * types[0].shape[-1] * 10


def _rfft(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    kind = types[0]
    ranked(kind, 1, None, "signals along the last axis", 0)
    if not isinstance(kind.shape[-1], int) or kind.shape[-1] < 1:
        raise OperandError(f"a signal has a length that is known, got {kind}", operand=0)
    half = kind.with_shape((*kind.shape[:-1], kind.shape[-1] // 2 + 1))
    return half, half


def _rfft_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    length = types[0].shape[-1]
    assert isinstance(length, int)
    return types[0].size * 5 * max(length.bit_length(), 1)


ROWS = (
    Operation(
        name="eigh",
        signature="x: float",
        infer=_eigh,
        numpy="eigh({x})",
        torch="eigh({x})",
        jax="eigh({x})",
        rows=batch_wise,
        flops=_cubic,
        doc="The eigenvalues of a symmetric x, ascending, and its eigenvectors as columns; it is made symmetric first.",
    ),
    Operation(
        name="svd",
        signature="x: float",
        infer=_svd,
        numpy="svd({x})",
        torch="svd({x})",
        jax="svd({x})",
        rows=batch_wise,
        flops=_cubic,
        doc="u, s and v with x = (u * s) @ v: orthonormal columns of u and rows of v, s descending.",
    ),
    Operation(
        name="rfft",
        signature="x: float",
        infer=_rfft,
        numpy="rfft({x})",
        torch="rfft({x})",
        jax="rfft({x})",
        rows=batch_wise,
        flops=_rfft_flops,
        doc="The real and the imaginary parts of the first n // 2 + 1 frequencies of signals along the last axis.",
    ),
)
