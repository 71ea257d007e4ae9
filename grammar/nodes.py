"""The syntax tree: one frozen dataclass per construct, each with the span of its source text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points of one source text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Node:
    """What all constructs have. They compare and print by their fields here, once: writing these methods for each of
    forty classes is what most of the time to import this module went to."""

    span: Span

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).__dataclass_fields__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in type(self).__dataclass_fields__))

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in type(self).__dataclass_fields__)
        return f"{type(self).__qualname__}({', '.join(shown)})"


# --- patterns and parameters ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class NamePattern(Node):
    """`x` in `x => e`."""

    name: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PatternField(Node):
    """`image` or `image: x` in a record pattern: takes `field`, binds `name`."""

    field: str
    name: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RecordPattern(Node):
    """`{image, label: y}` in `({image, label: y}) => e`."""

    fields: tuple[PatternField, ...]


Pattern: TypeAlias = NamePattern | RecordPattern


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class NamedType(Node):
    """`Dataset`, `list[int]`, `Model?`."""

    name: str
    arguments: tuple[TypeNode, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RecordType(Node):
    """`{image: Tensor, label: int}`."""

    fields: tuple[tuple[str, TypeNode], ...]


TypeNode: TypeAlias = NamedType | RecordType


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Parameter(Node):
    """A parameter of a `fn` or a `model`: `lr: float = 1e-3`."""

    name: str
    type: TypeNode | None = None
    default: Expr | None = None


# --- statements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Use(Node):
    """`use std.ssl` (`is_file` false, path "std.ssl") or `use "lib/tune.etude" as tune` (`is_file` true)."""

    path: str
    is_file: bool
    alias: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Param(Node):
    """`param labels: fraction = 10% in 1%..100%`."""

    name: str
    name_span: Span
    type: TypeNode
    default: Expr | None = None
    range: Expr | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Binding(Node):
    """`name = expr`."""

    name: str
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Body(Node):
    """`{ a = ...  fn f() ...  return e }`."""

    statements: tuple[Binding | Fn, ...]
    result: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Fn(Node):
    """`fn f(x: int = 1) -> T { ... }` or `fn f(x) = e`. `doc` is the block of comments right above it, if any."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    returns: TypeNode | None
    body: Body | Expr
    doc: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ModelDef(Node):
    """`model linear(out: int)(x) { ... }`. `doc` as for `Fn`."""

    name: str
    name_span: Span
    configuration: tuple[Parameter, ...]
    inputs: tuple[Parameter, ...]
    body: Body
    doc: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Expect(Node):
    claim: Expr
    because: str | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Assume(Node):
    claim: Expr
    because: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Report(Node):
    """`report { name = expr  ...spread }`."""

    entries: tuple[Argument, ...]


Statement: TypeAlias = Use | Param | Fn | ModelDef | Binding | Expect | Assume | Report


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Program(Node):
    """A whole file."""

    statements: tuple[Statement, ...]


# --- expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Number(Node):
    """A bare number: `value` is an int or a float as it was written; `text` is the literal."""

    value: int | float
    text: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Quantity(Node):
    """A number with a unit or a scale, `10%`, `20ksteps`, `2M`: `value` is the number as written (10, 20, 2),
    `prefix` one of "" k M G T B, `unit` one of "" % epochs steps tokens examples h min s ms KiB MiB GiB px
    (plural forms; a bare scale such as `2k` has unit "")."""

    value: int | float
    prefix: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class String(Node):
    """`value` has its escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Boolean(Node):
    value: bool


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ListExpr(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Clause(Node):
    """`for x in xs`."""

    name: str
    iterable: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Comprehension(Node):
    element: Expr
    clauses: tuple[Clause, ...]
    condition: Expr | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Field(Node):
    """`a: e` in a record; `b` alone is Field("b", Name("b"), pun=True)."""

    name: str
    value: Expr
    pun: bool = False


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Spread(Node):
    """`...other` in a record."""

    value: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RecordExpr(Node):
    fields: tuple[Field | Spread, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Lambda(Node):
    parameters: tuple[Pattern, ...]
    body: Body | Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Conditional(Node):
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Binary(Node):
    """`operator` is one of or and < <= > >= == != .. >> + - * / // @ % **."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Unary(Node):
    """`operator` is `-` or `not`."""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pipe(Node):
    """`value |> call(...)`: the value becomes the first positional argument of the call."""

    value: Expr
    call: Call


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Attribute(Node):
    value: Expr
    name: str
    name_span: Span


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Argument(Node):
    """`e`, `name = e` or `...e` (`is_spread`)."""

    value: Expr
    name: str | None = None
    name_span: Span | None = None
    is_spread: bool = False


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Call(Node):
    """`f(a, b = c) { d = e }`: `block` holds the arguments of the braces, or is None when there are none."""

    callee: Expr
    arguments: tuple[Argument, ...]
    block: tuple[Argument, ...] | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Slice(Node):
    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Ellipsis(Node):
    """`...` inside an index."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Newaxis(Node):
    """`newaxis` inside an index."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Index(Node):
    value: Expr
    items: tuple[Expr | Slice | Ellipsis | Newaxis, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Loop(Node):
    """`loop (carry = start, variable in iterable, while condition) { ... return next }`."""

    carry: str
    start: Expr
    variable: str | None
    iterable: Expr | None
    condition: Expr | None
    body: Body


Expr: TypeAlias = (
    Name
    | Number
    | Quantity
    | String
    | Boolean
    | ListExpr
    | Comprehension
    | RecordExpr
    | Lambda
    | Conditional
    | Binary
    | Unary
    | Pipe
    | Attribute
    | Call
    | Index
    | Loop
)
