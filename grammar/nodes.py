"""The syntax tree: one frozen struct per construct, each with the span of its source text."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Span(Struct, frozen=True):
    """A half-open range of code points of one source text."""

    start: int
    end: int


class Node(Struct, frozen=True, kw_only=True):
    """What all constructs have: a place in the text."""

    span: Span


# --- patterns and parameters ---------------------------------------------------------------------


class NamePattern(Node, frozen=True):
    """`x` in `x => e`."""

    name: str


class PatternField(Node, frozen=True):
    """`image` or `image: x` in a record pattern: takes `field`, binds `name`."""

    field: str
    name: str


class RecordPattern(Node, frozen=True):
    """`{image, label: y}` in `({image, label: y}) => e`."""

    fields: tuple[PatternField, ...]


Pattern: TypeAlias = NamePattern | RecordPattern


class NamedType(Node, frozen=True):
    """`Dataset`, `list[int]`, `Model?`; `size` is that of `label(10)`."""

    name: str
    arguments: tuple[TypeNode, ...] = ()
    optional: bool = False
    size: int | None = None


class RecordType(Node, frozen=True):
    """`{image: Tensor, label: int}`."""

    fields: tuple[tuple[str, TypeNode], ...]


TypeNode: TypeAlias = NamedType | RecordType


class Parameter(Node, frozen=True):
    """A parameter of a `fn` or a `model`: `lr: float = 1e-3`."""

    name: str
    type: TypeNode | None = None
    default: Expr | None = None


# --- statements ----------------------------------------------------------------------------------


class Use(Node, frozen=True):
    """`use std.ssl` (`is_file` false, path "std.ssl") or `use "lib/tune.etude" as tune` (`is_file` true)."""

    path: str
    is_file: bool
    alias: str | None = None


class Param(Node, frozen=True):
    """`param labels: fraction = 10% in 1%..100%`."""

    name: str
    name_span: Span
    type: TypeNode
    default: Expr | None = None
    range: Expr | None = None


class Binding(Node, frozen=True):
    """`name = expr`."""

    name: str
    name_span: Span
    value: Expr


class Body(Node, frozen=True):
    """`{ a = ...  fn f() ...  return e }`."""

    statements: tuple[Binding | Fn, ...]
    result: Expr


class Fn(Node, frozen=True):
    """`fn f(x: int = 1) -> T { ... }` or `fn f(x) = e`. `doc` is the block of comments right above it, if any."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    returns: TypeNode | None
    body: Body | Expr
    doc: str | None = None


class ModelDef(Node, frozen=True):
    """`model linear(out: int)(x) { ... }`. `doc` as for `Fn`."""

    name: str
    name_span: Span
    configuration: tuple[Parameter, ...]
    inputs: tuple[Parameter, ...]
    body: Body
    doc: str | None = None


class Expect(Node, frozen=True):
    claim: Expr
    because: str | None = None


class Assume(Node, frozen=True):
    claim: Expr
    because: str


class Report(Node, frozen=True):
    """`report { name = expr  ...spread }`."""

    entries: tuple[Argument, ...]


Statement: TypeAlias = Use | Param | Fn | ModelDef | Binding | Expect | Assume | Report


class Program(Node, frozen=True):
    """A whole file."""

    statements: tuple[Statement, ...]


# --- expressions ---------------------------------------------------------------------------------


class Name(Node, frozen=True):
    name: str


class Number(Node, frozen=True):
    """A bare number: `value` is an int or a float as it was written; `text` is the literal."""

    value: int | float
    text: str


class Quantity(Node, frozen=True):
    """A number with a unit or a scale, `10%`, `20ksteps`, `2M`: `value` is the number as written (10, 20, 2),
    `prefix` one of "" k M G T B, `unit` one of "" % epochs steps tokens examples h min s ms KiB MiB GiB px
    (plural forms; a bare scale such as `2k` has unit "")."""

    value: int | float
    prefix: str
    unit: str
    text: str


class String(Node, frozen=True):
    """`value` has its escapes resolved."""

    value: str


class Boolean(Node, frozen=True):
    value: bool


class ListExpr(Node, frozen=True):
    items: tuple[Expr, ...]


class Clause(Node, frozen=True):
    """`for x in xs`."""

    name: str
    iterable: Expr


class Comprehension(Node, frozen=True):
    element: Expr
    clauses: tuple[Clause, ...]
    condition: Expr | None = None


class Field(Node, frozen=True):
    """`a: e` in a record; `b` alone is Field("b", Name("b"), pun=True)."""

    name: str
    value: Expr
    pun: bool = False


class Spread(Node, frozen=True):
    """`...other` in a record."""

    value: Expr


class RecordExpr(Node, frozen=True):
    fields: tuple[Field | Spread, ...]


class Lambda(Node, frozen=True):
    parameters: tuple[Pattern, ...]
    body: Body | Expr


class Conditional(Node, frozen=True):
    condition: Expr
    then: Expr
    otherwise: Expr


class Binary(Node, frozen=True):
    """`operator` is one of or and < <= > >= == != .. >> + - * / // @ % **."""

    operator: str
    left: Expr
    right: Expr


class Unary(Node, frozen=True):
    """`operator` is `-` or `not`."""

    operator: str
    operand: Expr


class Pipe(Node, frozen=True):
    """`value |> call(...)`: the value becomes the first positional argument of the call."""

    value: Expr
    call: Call


class Attribute(Node, frozen=True):
    value: Expr
    name: str
    name_span: Span


class Argument(Node, frozen=True):
    """`e`, `name = e` or `...e` (`is_spread`)."""

    value: Expr
    name: str | None = None
    name_span: Span | None = None
    is_spread: bool = False


class Call(Node, frozen=True):
    """`f(a, b = c) { d = e }`: `block` holds the arguments of the braces, or is None when there are none."""

    callee: Expr
    arguments: tuple[Argument, ...]
    block: tuple[Argument, ...] | None = None


class Slice(Node, frozen=True):
    start: Expr | None
    stop: Expr | None


class Strided(Node, frozen=True):
    """`a:b:step` inside an index."""

    start: Expr | None
    stop: Expr | None
    step: Expr


class Ellipsis(Node, frozen=True):
    """`...` inside an index."""


class Newaxis(Node, frozen=True):
    """`newaxis` inside an index."""


class Index(Node, frozen=True):
    value: Expr
    items: tuple[Expr | Slice | Strided | Ellipsis | Newaxis, ...]


class Loop(Node, frozen=True):
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
