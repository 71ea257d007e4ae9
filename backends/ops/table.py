"""What a row of the operation table is, and how rows are found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, TypeAlias

from msgspec import Struct

from etude.backends.ops.rowwise import RowRule, elementwise
from etude.backends.program.dims import Dim, coefficients
from etude.backends.program.packages import module_names
from etude.backends.program.types import TensorType

OPERANDS = frozenset({"number", "same", "float", "int", "bool", "tensor", "numbers"})
"""The kinds of parameters that are operands."""
Types: TypeAlias = Sequence[TensorType]
Attributes: TypeAlias = Mapping[str, Any]


class OperandError(Exception):
    """The operands of an operation do not fit. `operand` is the index of the one to point at, if one is to blame."""

    def __init__(self, message: str, *, operand: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.operand, self.hint = message, operand, hint


class Parameter(Struct, frozen=True):
    """A parameter of an operation. Kinds of operands (tensors, or numbers that become literals):

    - `number`: promoted with the other `number` operands to their common dtype (bool becomes int32)
    - `same`: promoted with the other `same` operands, bool allowed to stay bool
    - `float`: an int or bool is cast to float32
    - `int`, `bool`: must be of that dtype (a bool is cast to int32 for `int`)
    - `tensor`: taken as it is
    - `numbers`: a list of tensors, promoted together; always the only operand parameter

    Kinds of attributes (static; lists are tuples): `axis` (an int), `axes` (an int, a list, or none), `shape` (a list
    of dimensions), `dim` (one dimension), `integer`, `integers` (an int or a list; may hold `b`), `real`, `flag`,
    `text`, `dtype`, `padding` ("same", "valid", an int, or one int per spatial axis), `widths` (an int, or one
    [before, after] pair per axis), `sizes` (the named integers of the call that are no other parameter: (name, int)
    pairs), `items` (of `slice`), `values` (numbers in nested lists).
    """

    name: str
    kind: str
    default: str | None = None

    @property
    def is_operand(self) -> bool:
        return self.kind in OPERANDS


class Operation(Struct, frozen=True, kw_only=True, dict=True):
    """One row: what an operation means, and how numpy, PyTorch and JAX spell it.

    `signature` is written `x: number, axis: axes = none, keep: flag = false`; operands come first; an optional operand
    has the default `none` and is then absent from the operands (attribute `has` lists the operand names given).
    `infer` takes the operands' types (after promotion) and the attributes and gives the results' types, or raises
    `OperandError`.

    A spelling is a Python expression with `{x}` for operands and `{axis}` for attributes (put in as Python literals, in
    which the variable `b` may stand; `{key}` is the counter-based key of a random operation), or a function of (types,
    attributes) that returns such a template; it finds in the attribute `literals` the operands that are numbers, by
    name. Names used in spellings are `np`, `torch`, `F`, `jnp`, `jax`, `lax`, `random` (the module
    `backends/<framework>/random.py`) or functions of `backends/<framework>/functions.py`. `backends/ops/spelling.py`
    puts operands in. Operands named in `bare`, and those of Python operators, may stay Python numbers (not both of
    two that are promoted together); other numbers become scalars of the framework. Torch spellings make new tensors
    on the default device.

    `rows` says how the operation on rows becomes the operation on a batch of rows (`backends/ops/rowwise.py`).
    `differentiable` and `twice_differentiable` are promises for all frameworks.
    `flops` counts floating-point operations; by default one for each element of the largest operand or result.
    A random operation has an attribute `site`; after vectorisation also `rows` = true and one more, last operand: the
    uint32 identities of the rows, each of which then draws from a key of its own.
    """

    name: str
    signature: str
    infer: Callable[[Types, Attributes], tuple[TensorType, ...]]
    numpy: str | Callable[[Types, Attributes], str]
    torch: str | Callable[[Types, Attributes], str]
    jax: str | Callable[[Types, Attributes], str]
    rows: RowRule = elementwise
    bare: tuple[str, ...] = ()
    flops: Callable[[Types, tuple[TensorType, ...], Attributes], Dim] | None = None
    differentiable: bool = True
    twice_differentiable: bool = True
    is_random: bool = False
    semantics: int = 1
    doc: str = ""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(_parameter(text.strip()) for text in self.signature.split(",") if text.strip())

    @cached_property
    def operand_parameters(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_operand)

    @cached_property
    def attribute_parameters(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if not p.is_operand)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @cached_property
    def sizes(self) -> str | None:
        """The parameter that takes the other named integers of a call, if there is one."""
        return next((p.name for p in self.parameters if p.kind == "sizes"), None)

    @cached_property
    def has_optional(self) -> bool:
        """Whether an operand can be left out."""
        return any(p.default == "none" for p in self.operand_parameters)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The promotion kinds of the operands."""
        return tuple(p.kind for p in self.operand_parameters)

    def operand_names(self, count: int, attributes: Attributes) -> tuple[str, ...]:
        """The parameter names of `count` given operands (without those of vectorised randomness)."""
        names = tuple(p.name for p in self.operand_parameters)
        given = attributes.get("has")
        return names[:count] if given is None else tuple(name for name in names if name in given)

    def work(self, operands: Types, results: tuple[TensorType, ...], attributes: Attributes) -> Dim:
        """The floating-point operations of one evaluation."""
        if self.flops is not None:
            return self.flops(operands, results, attributes)
        return max((kind.size for kind in (*operands, *results)), key=lambda size: coefficients(size)[::-1], default=0)


def _parameter(text: str) -> Parameter:
    head, _, default = text.partition("=")
    name, _, kind = head.partition(":")
    return Parameter(name.strip(), kind.strip(), default.strip() or None)


@cache
def _table() -> dict[str, Operation]:
    import etude.backends.ops as package

    rows: dict[str, Operation] = {}
    for module in module_names(package.__path__):
        family = importlib.import_module(f"{package.__name__}.{module}")
        for row in getattr(family, "ROWS", ()):
            assert row.name not in rows, f"two rows are called {row.name}"
            rows[row.name] = row
    return rows


def find(name: str) -> Operation | None:
    """The row called `name`, or None."""
    return _table().get(name)


def names() -> tuple[str, ...]:
    """The names of all operations, sorted."""
    return tuple(sorted(_table()))
