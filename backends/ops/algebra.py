"""Linear algebra."""

from __future__ import annotations

import re
from collections.abc import Sequence

from etude.backends.ops.rowwise import Lifting, batch_wise, reshaped
from etude.backends.ops.shapes import broadcast
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, b, product
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType

# --- matrix products ---


def _matmul(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    x, y = types
    for index, kind in enumerate(types):
        if kind.rank == 0:
            raise OperandError(f"`@` takes vectors and matrices, got the single number {kind}", operand=index)
    inner = (x.shape[-1], y.shape[-2] if y.rank > 1 else y.shape[0])
    if inner[0] != inner[1]:
        place = "axis -2" if y.rank > 1 else "axis 0"
        message = f"cannot multiply {x} @ {y}: axis -1 of the left is {inner[0]}, {place} of the right is {inner[1]}"
        raise OperandError(message, operand=1, hint=_matmul_hint(x, y))
    leading = broadcast([TensorType(x.dtype, x.shape[:-2]), TensorType(y.dtype, y.shape[:-2])])
    shape = (*leading, *(x.shape[-2:-1] if x.rank > 1 else ()), *(y.shape[-1:] if y.rank > 1 else ()))
    return (TensorType(x.dtype, shape),)


def _matmul_hint(x: TensorType, y: TensorType) -> str:
    if y.rank > 1 and x.shape[-1] == y.shape[-1]:
        return "transpose the right side: `transpose(y)`"
    return "the last axis of the left and the last but one of the right must be equal"


def _matmul_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    return results[0].size * types[0].shape[-1] * 2


def _matmul_rows(lift: Lifting) -> tuple[Operand, ...]:
    """`@` itself where the batch is one more leading axis, else the einsum that says the same."""
    (left, right), (x, y) = (kind.rank for kind in lift.types), lift.operands
    if left >= 2 and right >= 2:
        rank = max(left, right)
        return lift.apply("matmul", [lift.ranked(0, rank), lift.ranked(1, rank)])
    if not lift.batched[1] and right <= 2:
        return lift.apply("matmul", [x, y])
    return lift.apply("einsum", [x, y], equation=_row_equation(left, right, lift.batched))


def _row_equation(left: int, right: int, batched: Sequence[bool]) -> str:
    """The einsum of a row's vector with a vector or matrices: rows are `z`, the sum runs over `k`.

    >>> _row_equation(1, 2, (True, True)), _row_equation(2, 1, (False, True))
    ('zk,zkn->zn', 'mk,zk->zm')
    """
    x = "k" if left == 1 else f"{'abcdefg'[: left - 2]}mk"
    y = "k" if right == 1 else f"{'abcdefg'[: right - 2]}kn"
    out = "".join(letter for letter in x + y if letter != "k")
    return f"{'z' * batched[0]}{x},{'z' * batched[1]}{y}->z{out}"


# --- einsum ---


def parse_equation(equation: str, count: int) -> tuple[list[str], str]:
    """The letters of each operand and of the result. Raises `OperandError`.

    >>> parse_equation("bij, bjk -> bik", 2)
    (['bij', 'bjk'], 'bik')
    """
    text = re.sub(r"\s", "", equation)
    match = re.fullmatch(r"([A-Za-z]*(?:,[A-Za-z]*)*)->([A-Za-z]*)", text)
    if match is None:
        raise OperandError(f'expected letters such as "bij, bjk -> bik", got "{equation}"')
    inputs, output = match[1].split(","), match[2]
    if len(inputs) != count:
        raise OperandError(f'"{equation}" describes {len(inputs)} tensors, but {count} are given')
    for letter in output:
        if output.count(letter) > 1 or letter not in match[1]:
            raise OperandError(f'`{letter}` of the result must stand once in it and in an operand: "{equation}"')
    return inputs, output


def _letter_sizes(types: Types, equation: str) -> tuple[dict[str, Dim], str]:
    inputs, output = parse_equation(equation, len(types))
    sizes: dict[str, Dim] = {}
    for index, (letters, kind) in enumerate(zip(inputs, types, strict=True)):
        if len(letters) != kind.rank:
            message = f'"{letters}" names {len(letters)} axes, but the tensor is {kind}: "{equation}"'
            raise OperandError(message, operand=index)
        for letter, dim in zip(letters, kind.shape, strict=True):
            if sizes.setdefault(letter, dim) != dim:
                message = f'`{letter}` is {sizes[letter]} in one tensor and {dim} in {kind}: "{equation}"'
                raise OperandError(message, operand=index)
    return sizes, output


def _einsum(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    if types[0].dtype == "bool":
        raise OperandError("einsum multiplies numbers, got bool values", operand=0)
    sizes, output = _letter_sizes(types, attributes["equation"])
    return (TensorType(types[0].dtype, tuple(sizes[letter] for letter in output)),)


def _einsum_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    sizes, _ = _letter_sizes(types, attributes["equation"])
    return product(list(sizes.values())) * len(types)


def _einsum_rows(lift: Lifting) -> tuple[Operand, ...]:
    inputs, output = parse_equation(lift.attrs["equation"], len(lift.types))
    letter = next(c for c in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTS" if c not in lift.attrs["equation"])
    batched = [letter + text if is_batched else text for text, is_batched in zip(inputs, lift.batched, strict=True)]
    return lift.apply("einsum", lift.operands, equation=f"{','.join(batched)}->{letter}{output}")


# --- systems ---


def _square(kind: TensorType, what: str) -> None:
    if kind.rank < 2 or kind.shape[-1] != kind.shape[-2]:
        raise OperandError(f"{what} takes a square matrix (the last two axes), got {kind}", operand=0)


def _solve(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    a, y = types
    _square(a, "solve")
    if y.rank != a.rank and not (y.rank == 1 and a.rank == 2):
        raise OperandError(f"the right side must have the {a.rank} axes of {a}, got {y}", operand=1)
    rows = y.shape[0] if y.rank == 1 else y.shape[-2]
    if rows != a.shape[-1] or (y.rank > 1 and y.shape[:-2] != a.shape[:-2]):
        raise OperandError(f"the matrix is {a}, but the right side is {y}", operand=1)
    return (y,)


def _solve_flops(types: Types, results: Types, attributes: Attributes) -> Dim:
    n = types[0].shape[-1]
    return types[0].size * n + results[0].size * n * 2


def _solve_rows(lift: Lifting) -> tuple[Operand, ...]:
    a, y = lift.spread(0), lift.spread(1)
    if lift.types[1].rank == 1:
        y = lift.apply("reshape", [y], shape=(b, lift.types[1].shape[0], 1))[0]
    return (reshaped(lift, lift.apply("solve", [a, y])[0], lift.results[0]),)


def _cholesky(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    _square(types[0], "cholesky")
    return (types[0],)


ROWS = (
    Operation(
        name="matmul",
        signature="x: number, y: number",
        infer=_matmul,
        numpy="{x} @ {y}",
        torch="{x} @ {y}",
        jax="{x} @ {y}",
        rows=_matmul_rows,
        flops=_matmul_flops,
        doc="The matrix product over the last axis of x and the last but one of y; leading axes broadcast.",
    ),
    Operation(
        name="einsum",
        signature="xs: numbers, equation: text",
        infer=_einsum,
        numpy="np.einsum({equation}, *{xs})",
        torch="torch.einsum({equation}, *{xs})",
        jax="jnp.einsum({equation}, *{xs})",
        rows=_einsum_rows,
        flops=_einsum_flops,
        doc='Products summed over the letters that the result does not name: "bij, bjk -> bik".',
    ),
    Operation(
        name="solve",
        signature="a: float, y: float",
        infer=_solve,
        numpy="np.linalg.solve({a}, {y})",
        torch="torch.linalg.solve({a}, {y})",
        jax="jnp.linalg.solve({a}, {y})",
        rows=_solve_rows,
        flops=_solve_flops,
        doc="The z with a @ z = y, for square a; leading axes are a batch of systems.",
    ),
    Operation(
        name="cholesky",
        signature="x: float",
        infer=_cholesky,
        numpy="np.linalg.cholesky({x})",
        torch="torch.linalg.cholesky({x})",
        jax="jnp.linalg.cholesky({x})",
        rows=batch_wise,
        flops=lambda types, results, attributes: types[0].size * types[0].shape[-1],
        doc="The lower triangle L with L @ L.T = x, for a symmetric positive x.",
    ),
)
