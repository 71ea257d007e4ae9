"""The tree builder: one method for each alias of `etude.lark`, called by the parser while it reads.

Every method takes the children of its rule, tokens included, and returns a node or a list that its parent takes over.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec.structs import force_setattr

from etude.grammar import literals
from etude.grammar import nodes as n
from etude.grammar.bad_tokens import bad_token
from etude.grammar.faults import SyntaxWarning_
from etude.grammar.nodes import Span
from etude.grammar.operators import climb
from etude.grammar.patterns import as_pattern, refuse_repeats
from etude.grammar.tokens import Token

Children: TypeAlias = list[Any]


class Builder:
    """Builds the tree of `text`; warnings gather in `warnings`."""

    def __init__(self) -> None:
        self.begin("")

    def begin(self, text: str) -> None:
        """Forget the last text and start on this one."""
        self.text = text
        self.warnings: list[SyntaxWarning_] = []

    # --- lists, and rules that only choose ---

    def nothing(self, c: Children) -> Children:
        return []

    def first(self, c: Children) -> Children:
        return c

    def two(self, c: Children) -> Children:
        return [c[0], c[2]]

    def more(self, c: Children) -> Any:
        c[0].append(c[1])
        return c[0]

    def more_after_comma(self, c: Children) -> Any:
        c[0].append(c[2])
        return c[0]

    def only(self, c: Children) -> Any:
        return c[0]

    # --- statements ---

    def program(self, c: Children) -> n.Program:
        return n.Program(tuple(c[0]), span=Span(0, len(self.text)))

    def use_module(self, c: Children) -> n.Use:
        alias = c[3] if len(c) > 2 else None
        end = alias.end_pos if alias is not None else c[1][-1].end_pos
        path = ".".join(c[1])
        return n.Use(path, False, alias and str(alias), span=Span(c[0].start_pos, end))

    def use_file(self, c: Children) -> n.Use:
        alias = str(c[3]) if len(c) > 2 else None
        path = literals.string_value(c[1], c[1].start_pos)
        return n.Use(path, True, alias, span=Span(c[0].start_pos, c[-1].end_pos))

    def param(self, c: Children) -> n.Param:
        parts = {str(c[i]): c[i + 1] for i in range(4, len(c), 2)}
        span = Span(c[0].start_pos, c[-1].span.end)
        return n.Param(str(c[1]), token_span(c[1]), c[3], parts.get("="), parts.get("in"), span=span)

    def fn_short(self, c: Children) -> n.Fn:
        return self._fn(c, None, c[6])

    def fn_long(self, c: Children) -> n.Fn:
        return self._fn(c, None, c[5])

    def fn_short_typed(self, c: Children) -> n.Fn:
        return self._fn(c, c[6], c[8])

    def fn_long_typed(self, c: Children) -> n.Fn:
        return self._fn(c, c[6], c[7])

    def _fn(self, c: Children, returns: n.TypeNode | None, body: n.Body | n.Expr) -> n.Fn:
        start = c[0].start_pos
        span = Span(start, body.span.end)
        return n.Fn(str(c[1]), token_span(c[1]), tuple(c[3]), returns, body, self._doc(start), span=span)

    def model(self, c: Children) -> n.ModelDef:
        start = c[0].start_pos
        span = Span(start, c[8].span.end)
        name_span = token_span(c[1])
        return n.ModelDef(str(c[1]), name_span, tuple(c[3]), tuple(c[6]), c[8], self._doc(start), span=span)

    def _doc(self, start: int) -> str | None:
        """The comment lines right above the statement at `start`, without their `#`."""
        line_start = self.text.rfind("\n", 0, start) + 1
        if self.text[line_start:start].strip():
            return None
        lines: list[str] = []
        while line_start > 0:
            previous = self.text.rfind("\n", 0, line_start - 1) + 1
            line = self.text[previous : line_start - 1].strip().lstrip("\ufeff")
            if not line.startswith("#"):
                break
            lines.append(line[1:].removeprefix(" "))
            line_start = previous
        return "\n".join(reversed(lines)) if lines else None

    def parameter(self, c: Children) -> n.Parameter:
        return n.Parameter(str(c[0]), span=token_span(c[0]))

    def parameter_typed(self, c: Children) -> n.Parameter:
        default = c[4] if len(c) > 3 else None
        return n.Parameter(str(c[0]), c[2], default, span=Span(c[0].start_pos, c[-1].span.end))

    def parameter_default(self, c: Children) -> n.Parameter:
        return n.Parameter(str(c[0]), None, c[2], span=Span(c[0].start_pos, c[2].span.end))

    def binding(self, c: Children) -> n.Binding:
        return n.Binding(str(c[0]), token_span(c[0]), c[2], span=Span(c[0].start_pos, c[2].span.end))

    def expect(self, c: Children) -> n.Expect:
        if len(c) == 2:
            return n.Expect(c[1], span=Span(c[0].start_pos, c[1].span.end))
        because = literals.string_value(c[3], c[3].start_pos)
        return n.Expect(c[1], because, span=Span(c[0].start_pos, c[3].end_pos))

    def assume(self, c: Children) -> n.Assume:
        because = literals.string_value(c[3], c[3].start_pos)
        return n.Assume(c[1], because, span=Span(c[0].start_pos, c[3].end_pos))

    def report(self, c: Children) -> n.Report:
        entries, end = c[1]
        return n.Report(entries, span=Span(c[0].start_pos, end))

    def body(self, c: Children) -> n.Body:
        return n.Body(tuple(c[1]), c[3], span=Span(c[0].start_pos, c[4].end_pos))

    def body_return(self, c: Children) -> n.Body:
        return n.Body((), c[2], span=Span(c[0].start_pos, c[3].end_pos))

    def block(self, c: Children) -> tuple[tuple[n.Argument, ...], int]:
        return tuple(c[1]), c[2].end_pos

    # --- types ---

    def named_type(self, c: Children) -> n.NamedType:
        return n.NamedType(str(c[0]), (), len(c) > 1, span=Span(c[0].start_pos, c[-1].end_pos))

    def generic_type(self, c: Children) -> n.NamedType:
        return n.NamedType(str(c[0]), tuple(c[2]), len(c) > 4, span=Span(c[0].start_pos, c[-1].end_pos))

    def sized_type(self, c: Children) -> n.NamedType:
        size = literals.number(str(c[2]), token_span(c[2])).value
        return n.NamedType(str(c[0]), (), len(c) > 4, int(size), span=Span(c[0].start_pos, c[-1].end_pos))

    def record_type(self, c: Children) -> n.RecordType:
        return n.RecordType(tuple(c[1]), span=Span(c[0].start_pos, c[2].end_pos))

    def type_field(self, c: Children) -> tuple[str, n.TypeNode]:
        return str(c[0]), c[2]

    # --- lambdas ---

    def lambda_name(self, c: Children) -> n.Lambda:
        pattern = n.NamePattern(str(c[0]), span=token_span(c[0]))
        return n.Lambda((pattern,), c[2], span=Span(c[0].start_pos, c[2].span.end))

    def lambda_none(self, c: Children) -> n.Lambda:
        return n.Lambda((), c[3], span=Span(c[0].start_pos, c[3].span.end))

    def lambda_one(self, c: Children) -> n.Lambda:
        return self._lambda(c, [c[1]])

    def lambda_many(self, c: Children) -> n.Lambda:
        return self._lambda(c, c[1])

    def _lambda(self, c: Children, parameters: list[n.Expr]) -> n.Lambda:
        patterns = tuple(map(as_pattern, parameters))
        refuse_repeats(patterns)
        return n.Lambda(patterns, c[4], span=Span(c[0].start_pos, c[4].span.end))

    # --- operators ---

    def conditional(self, c: Children) -> n.Conditional:
        return n.Conditional(c[1], c[3], c[5], span=Span(c[0].start_pos, c[5].span.end))

    def prefixed_operand(self, c: Children) -> Children:
        return [*c[0], c[1]]

    def infix_first(self, c: Children) -> Children:
        left, operator, right = c
        items = left if isinstance(left, list) else [left]
        return self.infix_more([items, operator, right])

    def infix_more(self, c: Children) -> Children:
        items: Children = c[0]
        items.append(c[1])
        if isinstance(c[2], list):
            items += c[2]
        else:
            items.append(c[2])
        return items

    def operation(self, c: Children) -> n.Expr:
        items = c[0] if len(c) == 1 else [*c[0], c[1]]
        return climb(items, self.text)

    # --- postfix ---

    def attribute(self, c: Children) -> n.Attribute:
        value, _, name = c
        span = Span(value.span.start, name.end_pos)
        return n.Attribute(value, str(name), token_span(name), span=span)

    def call(self, c: Children) -> n.Call:
        callee = c[0]
        self._warn_if_continued(callee, c[1])
        block, end = c[4] if len(c) > 4 else (None, c[3].end_pos)
        return n.Call(callee, tuple(c[2]), block, span=Span(callee.span.start, end))

    def index(self, c: Children) -> n.Index:
        self._warn_if_continued(c[0], c[1])
        return n.Index(c[0], tuple(c[2]), span=Span(c[0].span.start, c[3].end_pos))

    def _warn_if_continued(self, value: n.Expr, bracket: Token) -> None:
        end, start = value.span.end, bracket.start_pos
        if end != start and "\n" in self.text[end:start]:
            self.warnings.append(
                SyntaxWarning_(
                    "W101",
                    f"this `{bracket}` continues the expression of the line before",
                    token_span(bracket),
                    label="a call of the value above" if bracket == "(" else "an index into the value above",
                    help=f"put the `{bracket}` on the line before if that is meant",
                    related=((value.span, "continued from here"),),
                )
            )

    def argument(self, c: Children) -> n.Argument:
        return n.Argument(c[0], span=c[0].span)

    def named_argument(self, c: Children) -> n.Argument:
        name, _, value = c
        return n.Argument(value, str(name), token_span(name), span=Span(name.start_pos, value.span.end))

    def spread_argument(self, c: Children) -> n.Argument:
        return n.Argument(c[1], is_spread=True, span=Span(c[0].start_pos, c[1].span.end))

    def slice(self, c: Children) -> n.Slice:
        colon = next(i for i, child in enumerate(c) if isinstance(child, Token))
        start, stop = (c[0] if colon else None), (c[-1] if colon < len(c) - 1 else None)
        first = start.span.start if start else c[0].start_pos
        return n.Slice(start, stop, span=Span(first, stop.span.end if stop else c[-1].end_pos))

    def strided(self, c: Children) -> n.Strided:
        first, second = [i for i, child in enumerate(c) if isinstance(child, Token)]
        start, stop = (c[0] if first else None), (c[first + 1] if second > first + 1 else None)
        begins = start.span.start if start else c[0].start_pos
        return n.Strided(start, stop, c[-1], span=Span(begins, c[-1].span.end))

    def ellipsis(self, c: Children) -> n.Ellipsis:
        return n.Ellipsis(span=token_span(c[0]))

    def newaxis(self, c: Children) -> n.Newaxis:
        return n.Newaxis(span=token_span(c[0]))

    # --- atoms ---

    def name(self, c: Children) -> n.Name:
        return n.Name(str(c[0]), span=token_span(c[0]))

    def number(self, c: Children) -> n.Number:
        return literals.number(str(c[0]), token_span(c[0]))

    def quantity(self, c: Children) -> n.Quantity:
        return literals.quantity(str(c[0]), token_span(c[0]))

    def string(self, c: Children) -> n.String:
        return literals.string(str(c[0]), token_span(c[0]))

    def boolean(self, c: Children) -> n.Boolean:
        return n.Boolean(c[0] == "true", span=token_span(c[0]))

    def bad(self, c: Children) -> n.Expr:
        raise bad_token(c[0].type, str(c[0]), c[0].start_pos, self.text)

    def parenthesised(self, c: Children) -> n.Expr:
        """Parentheses leave no node: they widen the span of what they hold."""
        node: n.Expr = c[1]
        force_setattr(node, "span", Span(c[0].start_pos, c[2].end_pos))
        return node

    def list_empty(self, c: Children) -> n.ListExpr:
        return n.ListExpr((), span=Span(c[0].start_pos, c[1].end_pos))

    def list_items(self, c: Children) -> n.ListExpr:
        return n.ListExpr(tuple(c[1]), span=Span(c[0].start_pos, c[-1].end_pos))

    def comprehension(self, c: Children) -> n.Comprehension:
        return n.Comprehension(c[1], tuple(c[2]), span=Span(c[0].start_pos, c[3].end_pos))

    def comprehension_if(self, c: Children) -> n.Comprehension:
        return n.Comprehension(c[1], tuple(c[2]), c[4], span=Span(c[0].start_pos, c[5].end_pos))

    def clause(self, c: Children) -> n.Clause:
        return n.Clause(str(c[1]), c[3], span=Span(c[0].start_pos, c[3].span.end))

    def record_empty(self, c: Children) -> n.RecordExpr:
        return n.RecordExpr((), span=Span(c[0].start_pos, c[1].end_pos))

    def record(self, c: Children) -> n.RecordExpr:
        return n.RecordExpr(tuple(c[1]), span=Span(c[0].start_pos, c[-1].end_pos))

    def field(self, c: Children) -> n.Field:
        return n.Field(str(c[0]), c[2], span=Span(c[0].start_pos, c[2].span.end))

    def pun(self, c: Children) -> n.Field:
        span = token_span(c[0])
        return n.Field(str(c[0]), n.Name(str(c[0]), span=span), True, span=span)

    def spread(self, c: Children) -> n.Spread:
        return n.Spread(c[1], span=Span(c[0].start_pos, c[1].span.end))

    def loop_plain(self, c: Children) -> n.Loop:
        return self._loop(c)

    def loop_in(self, c: Children) -> n.Loop:
        return self._loop(c, variable=str(c[6]), iterable=c[8])

    def loop_while(self, c: Children) -> n.Loop:
        return self._loop(c, condition=c[7])

    def loop_in_while(self, c: Children) -> n.Loop:
        return self._loop(c, variable=str(c[6]), iterable=c[8], condition=c[11])

    def _loop(
        self,
        c: Children,
        variable: str | None = None,
        iterable: n.Expr | None = None,
        condition: n.Expr | None = None,
    ) -> n.Loop:
        span = Span(c[0].start_pos, c[-1].span.end)
        return n.Loop(str(c[2]), c[4], variable, iterable, condition, c[-1], span=span)


def token_span(token: Token) -> Span:
    """The span of a token of the text being parsed."""
    start, end = token.start_pos, token.end_pos
    assert start is not None and end is not None
    return Span(start, end)
