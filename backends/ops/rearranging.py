"""`rearrange`: einops patterns, spelled as reshape, transpose, reshape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from msgspec import Struct

from etude.backends.ops.layout import reshape_text
from etude.backends.ops.rowwise import Lifting
from etude.backends.ops.table import Attributes, OperandError, Operation, Types
from etude.backends.program.dims import Dim, divide, product
from etude.backends.program.ir import Operand
from etude.backends.program.types import TensorType

Groups = tuple[tuple[str, ...], ...]
TOKEN = re.compile(r"\s*(\(|\)|\.\.\.|[A-Za-z_]\w*|1|\S)")


class Steps(Struct, frozen=True):
    """What a pattern means for one shape: split the axes, put them in another order, merge them."""

    split: tuple[Dim, ...]
    order: tuple[int, ...]
    merged: tuple[Dim, ...]


@cache
def parse_pattern(pattern: str, rank: int) -> tuple[Groups, Groups]:
    """Both sides of a pattern, each axis the names it is made of; `...` is written out for a tensor of `rank` axes.

    >>> parse_pattern("b (h p) ... -> b h ... p", 3)
    ((('b',), ('h', 'p'), ('...0',)), (('b',), ('h',), ('...0',), ('p',)))
    """
    sides = pattern.split("->")
    if len(sides) != 2:
        raise OperandError(f'the pattern "{pattern}" needs one `->`', hint='for instance "b h w c -> b (h w) c"')
    left, right = (_side(side, pattern) for side in sides)
    hidden = rank - len(left) + 1 if ("...",) in left else 0
    left, right = _written_out(left, hidden), _written_out(right, hidden)
    names = [name for group in left for name in group]
    for name in names:
        if names.count(name) > 1:
            raise OperandError(f'`{name}` stands twice on the left of "{pattern}"')
    others = [name for group in right for name in group]
    if sorted(names) != sorted(others):
        odd = sorted(set(names) ^ set(others)) or sorted({name for name in others if others.count(name) > 1})
        raise OperandError(
            f'both sides of "{pattern}" must name the same axes once; `{odd[0]}` does not match',
            hint="use `mean` or `sum` to drop an axis, `repeat` or `broadcast` to make one",
        )
    return left, right


def _side(text: str, pattern: str) -> Groups:
    groups: list[tuple[str, ...]] = []
    inner: list[str] | None = None
    for token in TOKEN.findall(text):
        if token == "(" and inner is None:
            inner = []
        elif token == ")" and inner is not None:
            groups.append(tuple(inner))
            inner = None
        elif token == "1" or token == "..." or token.isidentifier():
            names = [] if token == "1" else [token]
            if inner is None:
                groups.append(tuple(names))
            else:
                inner += names
        else:
            raise OperandError(f'`{token}` cannot stand in the pattern "{pattern}"')
    if inner is not None:
        raise OperandError(f'a parenthesis is not closed in the pattern "{pattern}"')
    return tuple(groups)


def _written_out(groups: Groups, hidden: int) -> Groups:
    names = tuple(f"...{i}" for i in range(hidden))
    result: list[tuple[str, ...]] = []
    for group in groups:
        if group == ("...",):
            result += [(name,) for name in names]
        else:
            result.append(tuple(n for name in group for n in (names if name == "..." else (name,))))
    return tuple(result)


def plan_steps(kind: TensorType, pattern: str, given: Mapping[str, Dim]) -> Steps:
    """The three steps of a pattern on a tensor of type `kind`; `given` are the sizes named in the call."""
    left, right = parse_pattern(pattern, kind.rank)
    if len(left) != kind.rank:
        raise OperandError(
            f'the pattern "{pattern}" has {len(left)} axes on the left, but the tensor is {kind}', operand=0
        )
    names = [name for group in left for name in group]
    for name in given:
        if name not in names:
            raise OperandError(f'`{name}` is given a size but is not in the pattern "{pattern}"')
    sizes = dict(given)
    for axis, (group, dim) in enumerate(zip(left, kind.shape, strict=True)):
        _solve_group(group, dim, axis, sizes, kind, pattern)
    order = [name for group in right for name in group]
    return Steps(
        split=tuple(sizes[name] for name in names),
        order=tuple(names.index(name) for name in order),
        merged=tuple(product([sizes[name] for name in group]) for group in right),
    )


def _solve_group(
    group: tuple[str, ...], dim: Dim, axis: int, sizes: dict[str, Dim], kind: TensorType, pattern: str
) -> None:
    unknown = [name for name in group if name not in sizes]
    known = product([sizes[name] for name in group if name in sizes])
    where = f'axis {axis} of {kind} in the pattern "{pattern}"'
    if len(unknown) > 1:
        both = " and ".join(f"`{name}`" for name in unknown)
        raise OperandError(f"the sizes of {both} are not known: {where}", operand=0, hint=f"give one: {unknown[1]} = 4")
    if not unknown:
        if known != dim:
            written = " * ".join(f"{name}={sizes[name]}" for name in group) or "1"
            raise OperandError(f"{written} makes {known}, but the axis has {dim}: {where}", operand=0)
        return
    rest = divide(dim, known)
    if rest is None:
        raise OperandError(f"{dim} is not divisible by {known}: {where}", operand=0)
    sizes[unknown[0]] = rest


def _steps(types: Types, attributes: Attributes) -> Steps:
    return plan_steps(types[0], attributes["pattern"], dict(attributes["sizes"] or ()))


def _infer(types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    return (types[0].with_shape(_steps(types, attributes).merged),)


def _spelling(method: str, types: Types, attributes: Attributes) -> str:
    steps, text = _steps(types, attributes), "{x}"
    shape = types[0].shape
    if steps.order == tuple(range(len(steps.order))):
        return text if steps.merged == shape else reshape_text(text, steps.merged)
    if steps.split != shape:
        text = reshape_text(text, steps.split)
    text = f"{text}.{method}({', '.join(map(str, steps.order))})"
    moved = tuple(steps.split[i] for i in steps.order)
    return text if steps.merged == moved else reshape_text(text, steps.merged)


def _numpy(types: Types, attributes: Attributes) -> str:
    return _spelling("transpose", types, attributes)


def _torch(types: Types, attributes: Attributes) -> str:
    return _spelling("permute", types, attributes)


def _rows(lift: Lifting) -> tuple[Operand, ...]:
    pattern = lift.attrs["pattern"]
    name = "rows"
    while re.search(rf"\b{name}\b", pattern):
        name += "_"
    left, right = pattern.split("->")
    return lift.apply(
        "rearrange", lift.operands, **(lift.attrs | {"pattern": f"{name} {left}-> {name} {right.strip()}"})
    )


def _free(types: Types, results: Types, attributes: Attributes) -> Dim:
    return 0


ROWS = (
    Operation(
        name="rearrange",
        signature="x: tensor, pattern: text, sizes: sizes = none",
        infer=_infer,
        numpy=_numpy,
        torch=_torch,
        jax=_numpy,
        rows=_rows,
        flops=_free,
        doc='Axes split, moved and merged as an einops pattern says: "b (h p) (w q) c -> b (h w) (p q c)", p = 4.',
    ),
)
