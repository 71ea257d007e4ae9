"""Whether a loss is a mean over rows, so that a batch may be taken in parts of one size whose gradients are averaged.

Each value of the program is one of these: the same for every batch; rows, each computed from its own row alone; a mean
or a sum over rows; the number of rows. What is none of these couples the rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from etude.backends.ops import find
from etude.backends.ops.rowwise import along_axis, along_one_axis, elementwise
from etude.backends.program.dims import Size
from etude.backends.program.ir import Op, Operand, Sub, Value

Kind: TypeAlias = Literal["same", "rows", "mean", "sum", "count"]
MAKERS = {"zeros", "ones", "full", "tensor"}
ROW_BY_ROW = {"one_hot", "rfft", "dropout", "random_shift", "random_flip", "categorical", "attention"}
FIRST_IS_ROWS = {"conv", "conv_transpose", "max_pool", "avg_pool", "resize"}
DRAWN = {"normal", "uniform", "bernoulli", "gumbel", "randint", "beta"}


class CoupledError(Exception):
    """An operation in which the rows of a batch meet; the message names it."""


def check_divisible(sub: Sub) -> None:
    """Raise `CoupledError` unless every output of a loss is a mean over the rows of the batch."""
    inputs: list[Kind] = ["same" if name.startswith("@") else "rows" for name, _ in sub.inputs]
    for (name, _), kind in zip(sub.outputs, _outputs(sub, inputs), strict=True):
        if kind not in {"same", "mean"}:
            what = f"'{name}'" if name else "the loss"
            raise CoupledError(
                f"{what} is a sum over the rows" if kind == "sum" else f"{what} is no mean over the rows"
            )


def _outputs(sub: Sub, inputs: Sequence[Kind]) -> list[Kind]:
    known: dict[int, Kind] = {value.id: kind for (_, value), kind in zip(sub.inputs, inputs, strict=True)}
    ones: set[int] = set()
    for op in sub.ops:
        kinds = [known[operand.id] if isinstance(operand, Value) else "same" for operand in op.operands]
        for value, kind in zip(op.results, _results(sub, op, kinds), strict=True):
            # `x.shape[0]` in arithmetic is a sum of ones
            is_count = op.name == "sum" and not ones.isdisjoint(o.id for o in op.operands if isinstance(o, Value))
            known[value.id] = "count" if kind == "sum" and is_count else kind
        if op.name in {"ones", "full"}:
            ones |= {value.id for value in op.results}
    return [known[value.id] if isinstance(value, Value) else "same" for _, value in sub.outputs]


def _results(sub: Sub, op: Op, kinds: list[Kind]) -> list[Kind]:
    if op.name in {"update", "write"}:
        raise CoupledError(f"'{sub.name}' keeps statistics of the batch")
    if op.name == "call":
        return _outputs(sub.children[op.attrs["child"]].sub, kinds)
    if op.name in {"weight", "read"}:
        return ["same"] * len(op.results)
    step = _Step(op, kinds)
    found = step.kind()
    if found is None:
        raise CoupledError(f"the rows of a batch meet in '{op.name}'")
    return [found] * len(op.results)


class _Step(Struct):
    op: Op
    kinds: list[Kind]

    def kind(self) -> Kind | None:
        """What the results are; None where rows meet."""
        op, kinds = self.op, set(self.kinds)
        if op.name in DRAWN or op.name in MAKERS:
            return self._made()
        if op.name == "size":
            return "count" if is_rows(op.attrs["n"]) else None
        if kinds <= {"same"}:
            return "same" if not self._is_random() and not any(map(mentions_rows, _shapes(op.results))) else None
        if kinds <= {"same", "mean", "sum", "count"}:
            return self._total()
        if kinds <= {"same", "rows"}:
            return self._by_rows()
        return None

    def _is_random(self) -> bool:
        operation = find(self.op.name)
        return operation is not None and operation.is_random

    def _made(self) -> Kind | None:
        shape = self.op.results[0].type.shape
        if any(kind != "same" for kind in self.kinds):
            return None
        if shape and is_rows(shape[0]) and not any(map(mentions, shape[1:])):
            return "rows"
        # a draw that all rows share would be another one in each part
        return None if any(map(mentions, shape)) or self.op.name in DRAWN else "same"

    def _total(self) -> Kind | None:
        """Arithmetic with means and sums over rows, as far as it is linear in them."""
        name, kinds = self.op.name, self.kinds
        if name in {"add", "sub"}:
            return kinds[0] if kinds[0] == kinds[1] != "count" else "mean" if set(kinds) == {"mean", "same"} else None
        if name in {"neg", "cast", "reshape", "stop"} or (name in {"sum", "mean"} and len(kinds) == 1):
            return kinds[0]
        if name == "mul" and "same" in kinds:
            return next(kind for kind in kinds if kind != "same")
        if name == "div" and kinds[1] == "same":
            return kinds[0]
        if name == "div" and kinds == ["sum", "count"]:
            return "mean"
        return None

    def _by_rows(self) -> Kind | None:
        """Operations on rows, and on what all rows share."""
        op, result = self.op, self.op.results[0].type.shape
        operation = find(op.name)
        if operation is None or not all(map(self._is_plain, op.operands, self.kinds)):
            return None
        if op.name in {"cross_entropy", "binary_cross_entropy"} and op.attrs.get("reduce", "mean") == "mean":
            return "mean" if len(op.operands) == 2 and self.kinds == ["rows", "rows"] else None
        if operation.rows is along_axis or operation.rows is along_one_axis or op.name == "standardize":
            return self._along_axis()
        is_allowed = self._keeps_rows() if operation.rows is not elementwise else self._is_aligned()
        return "rows" if is_allowed and result and is_rows(result[0]) and not any(map(mentions, result[1:])) else None

    def _is_plain(self, operand: Operand, kind: Kind) -> bool:
        """Whether an operand has the rows, and nothing but the rows, where its kind says."""
        shape = operand.type.shape
        return not any(map(mentions, shape[1:] if kind == "rows" else shape))

    def _is_aligned(self) -> bool:
        """Whether broadcasting puts the rows of all operands beside each other."""
        rank = self.op.results[0].type.rank
        return all(
            operand.type.rank == rank if kind == "rows" else operand.type.rank < rank or operand.type.shape[0] == 1
            for operand, kind in zip(self.op.operands, self.kinds, strict=True)
        )

    def _along_axis(self) -> Kind | None:
        axis, rank = self.op.attrs.get("axis"), self.op.operands[0].type.rank
        axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        if 0 not in {each % rank for each in axes}:
            return "rows"
        return self.op.name if self.op.name in {"mean", "sum"} else None  # type: ignore[return-value]

    def _keeps_rows(self) -> bool:
        """Whether an operation leaves each row where it is."""
        op, kinds, attrs = self.op, self.kinds, self.op.attrs
        ranks = [operand.type.rank for operand in op.operands]
        match op.name:
            case "matmul":
                return self._is_product(ranks)
            case "reshape" | "flatten":
                return True
            case "cross_entropy" | "binary_cross_entropy":
                return "same" not in kinds
            case "broadcast":
                return ranks[0] == op.results[0].type.rank
            case "transpose":
                return attrs["axes"] is not None and bool(attrs["axes"][0] == 0)
            case "stack":
                return bool(attrs["axis"] % (ranks[0] + 1)) and set(kinds) == {"rows"}
            case "slice":
                return tuple(attrs["items"][0]) in {("slice", None, None), ("slice", 0, None)}
            case "pad":
                return tuple(attrs["widths"][0]) == (0, 0)
            case "take":
                return kinds == ["rows", "same"] and bool(attrs["axis"] % ranks[0])
            case "gather" | "embedding":
                return kinds == ["same", "rows"]
            case "einsum":
                return self._is_einsum()
            case "rearrange":
                before, _, after = attrs["pattern"].partition("->")
                first: str = before.split()[0]
                return first == after.split()[0] and first.isalpha()
        if op.name in FIRST_IS_ROWS:
            return kinds[0] == "rows" and "rows" not in kinds[1:]
        return op.name in ROW_BY_ROW and kinds[0] == "rows"

    def _is_product(self, ranks: Sequence[int]) -> bool:
        (x, y), (left, right) = self.op.operands, self.kinds
        if left == "rows" and right == "rows":
            return ranks[0] == ranks[1] >= 3
        if left == "rows":
            return ranks[0] >= 2 and (ranks[1] <= 2 or ranks[1] < ranks[0] or y.type.shape[0] == 1)
        return ranks[1] >= 3 and (ranks[0] < ranks[1] or x.type.shape[0] == 1)

    def _is_einsum(self) -> bool:
        given, _, result = self.op.attrs["equation"].replace(" ", "").partition("->")
        terms, letter = given.split(","), result[:1]
        return letter.isalpha() and all(
            (term[0] == letter and term.count(letter) == 1) if kind == "rows" else letter not in term
            for term, kind in zip(terms, self.kinds, strict=True)
        )


def mentions(dim: Any) -> bool:
    """Whether a dimension depends on the batch."""
    return isinstance(dim, Size)


def is_rows(dim: Any) -> bool:
    """Whether a dimension is a multiple of the number of rows."""
    return isinstance(dim, Size) and len(dim.coefficients) == 2 and dim.coefficients[0] == 0


def mentions_rows(shape: Sequence[Any]) -> bool:
    return any(map(mentions, shape))


def _shapes(values: Sequence[Value]) -> list[tuple[Any, ...]]:
    return [value.type.shape for value in values]


def parts_of(rows: int, least: int) -> int:
    """How many parts of one size a batch is taken in: at least so many, and never more than rows.

    >>> parts_of(64, 4), parts_of(30, 4), parts_of(7, 2)
    (4, 5, 7)
    """
    return next(parts for parts in range(min(least, rows), rows + 1) if rows % parts == 0)
