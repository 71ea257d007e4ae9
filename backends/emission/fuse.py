"""Join operations that PyTorch has as one, which saves it a pass over memory: a bias into its convolution or matrix
product, a scale and a shift into the standardisation before them. XLA does so by itself. Products in bfloat16 are left
alone: the bias is added in float32."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct
from msgspec.structs import replace

from etude.backends.emission.precision import is_lowered
from etude.backends.ops.spelling import Framework
from etude.backends.program.ir import Op, Operand, Sub, Value

# x @ w + b as one operation; not a row of the table, but an invention of this file.
AFFINE = "affine"


class _Uses(Struct):
    """Which operation makes a value, and how often it is read."""

    makers: dict[int, Op]
    counts: Counter[int]

    @classmethod
    def of(cls, sub: Sub) -> _Uses:
        counts = Counter(o.id for op in sub.ops for o in op.operands if isinstance(o, Value))
        counts.update(o.id for _, o in sub.outputs if isinstance(o, Value))
        return cls({value.id: op for op in sub.ops for value in op.results}, counts)

    def only_here(self, operand: Operand, name: str) -> Op | None:
        """The operation called `name` that makes `operand`, if nothing else reads it."""
        if not isinstance(operand, Value) or self.counts[operand.id] != 1:
            return None
        op = self.makers.get(operand.id)
        return op if op is not None and op.name == name and not is_lowered(op) else None


def fuse(sub: Sub, framework: Framework) -> Sub:
    """`sub` with fewer operations, by the rules of this file; its children stay as they are."""
    if framework != "torch":
        return sub
    uses = _Uses.of(sub)
    gone: set[int] = set()
    fused: dict[int, Op] = {}
    for op in sub.ops:
        found = _fused(op, uses) if op.name == "add" else None
        if found is not None:
            new, parts = found
            fused[op.results[0].id] = new
            gone |= {part.results[0].id for part in parts}
    kept = (op for op in sub.ops if not op.results or op.results[0].id not in gone)
    return replace(sub, ops=tuple(fused.get(op.results[0].id, op) if op.results else op for op in kept))


def _fused(op: Op, uses: _Uses) -> tuple[Op, list[Op]] | None:
    """What takes the place of the sum `op`, and the operations that are then part of it."""
    for x, added in (op.operands, op.operands[::-1]):
        conv = uses.only_here(x, "conv")
        if conv is not None and len(conv.operands) == 2 and added.type.shape == x.type.shape[-1:]:
            return _with_operands(conv, (added,), ("x", "w", "bias"), op), [conv]
        scaled = uses.only_here(x, "mul")
        if scaled is not None and added.type.rank == 1:
            found = _fused_standardize(op, scaled, added, uses)
            if found is not None:
                return found
        product = uses.only_here(x, "matmul")
        if product is not None and _is_affine(product, added):
            return Op(AFFINE, (*product.operands, added), (), op.results), [product]
    return None


def _fused_standardize(op: Op, scaled: Op, shift: Operand, uses: _Uses) -> tuple[Op, list[Op]] | None:
    for x, scale in (scaled.operands, scaled.operands[::-1]):
        standard = uses.only_here(x, "standardize")
        if standard is not None and len(standard.operands) == 1:
            last = x.type.shape[-1:]
            along_last = standard.attrs["axis"] in {-1, x.type.rank - 1, (-1,), (x.type.rank - 1,)}
            if along_last and scale.type.shape == last and shift.type.shape == last:
                return _with_operands(standard, (scale, shift), ("x", "scale", "shift"), op), [standard, scaled]
    return None


def _with_operands(op: Op, more: tuple[Operand, ...], names: tuple[str, ...], result: Op) -> Op:
    attributes = tuple((key, names if key == "has" else value) for key, value in op.attributes)
    return Op(op.name, (*op.operands, *more), attributes, result.results)


def _is_affine(product: Op, bias: Operand) -> bool:
    x, w = product.operands
    is_matrix = x.type.rank >= 2 and w.type.rank == 2 and bias.type.shape == w.type.shape[-1:]
    return is_matrix and w.type.dtype == "float32"
