"""Printing on one line: each expression gives its text, or None where something must stand on lines of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from etude.grammar import nodes as n
from etude.grammar.layout import Layout, Region, pipe_steps
from etude.grammar.operators import COMPARISON, PIPE, POSTFIX, POWER, PRECEDENCE, RANGE, UNARY_MINUS

LOOSEST = 0


class OneLinePrinter(ABC):
    """Prints on one line what its layout leaves on one line."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._flat: dict[int, str | None] = {}

    @abstractmethod
    def flat_body(self, body: n.Body) -> str | None:
        """Print a body on one line, if it may be on one."""

    @abstractmethod
    def flat_entries(self, entries: Sequence[n.Argument], region: Region | None) -> str | None:
        """Print a block on one line, if it may be on one."""

    @abstractmethod
    def loop_head(self, node: n.Loop) -> str:
        """Print what stands before the body of a loop, in any case."""

    def flat(self, node: n.Expr, level: int = LOOSEST) -> str | None:
        """Print on one line, or give None where something must stand on lines of its own."""
        if id(node) not in self._flat:
            self._flat[id(node)] = self.one_line(node)
        text = self._flat[id(node)]
        return f"({text})" if text is not None and self.needs_parentheses(node, level) else text

    def needs_parentheses(self, node: n.Expr, level: int) -> bool:
        return precedence(node) < level or id(node) in self.layout.in_parentheses

    def may_be_flat(self, region: Region | None) -> bool:
        return region is None or not (region.is_broken or region.has_comments)

    def one_line(self, node: n.Expr) -> str | None:
        match node:
            case n.Name(name=name):
                return name
            case n.Number(text=text) | n.Quantity(text=text):
                return text
            case n.String(value=value):
                return quoted(value)
            case n.Boolean(value=value):
                return "true" if value else "false"
            case n.ListExpr(items=items):
                return self.flat_list("[", [self.flat(item) for item in items], "]", self.layout.region(node))
            case n.RecordExpr(fields=fields):
                return self.flat_list("{", [self.flat_field(field) for field in fields], "}", self.layout.region(node))
            case n.Comprehension():
                return self._flat_comprehension(node)
            case n.Lambda(body=body):
                inner = self.flat_body(body) if isinstance(body, n.Body) else self.flat(body)
                return None if inner is None else self.parameters(node) + inner
            case n.Conditional():
                if id(node) in self.layout.broken:
                    return None
                parts = [self.flat(part) for part in (node.condition, node.then, node.otherwise)]
                return None if None in parts else "if {} then {} else {}".format(*parts)
            case n.Binary(operator=operator):
                left, right = self.flat(node.left, left_level(operator)), self.flat(node.right, right_level(operator))
                if left is None or right is None or id(node) in self.layout.broken:
                    return None
                return left + self.sign_text(operator) + right
            case n.Pipe():
                return self._flat_pipe(node)
            case _:
                return self._flat_postfix(node)

    def _flat_postfix(self, node: n.Expr) -> str | None:
        match node:
            case n.Unary(operator=operator, operand=operand):
                inner = self.flat(operand, prefix_level(operator))
                return None if inner is None else prefix_sign(operator) + inner
            case n.Attribute(value=value, name=name):
                inner = self.flat(value, POSTFIX)
                return None if inner is None else f"{inner}.{name}"
            case n.Index(value=value, items=items):
                inner = self.flat(value, POSTFIX)
                texts = self.flat_list("[", [self.flat_index(item) for item in items], "]", None)
                return None if inner is None or texts is None else inner + texts
            case n.Call():
                return self._flat_call(node)
            case n.Loop():
                inner = self.flat_body(node.body)
                return None if inner is None else f"{self.loop_head(node)} {inner}"
        raise AssertionError(f"no way to print {type(node).__name__}")

    def flat_list(self, opener: str, items: list[str | None], closer: str, region: Region | None) -> str | None:
        texts = [item for item in items if item is not None]
        if len(texts) < len(items) or not self.may_be_flat(region):
            return None
        return opener + ", ".join(texts) + closer

    def flat_field(self, field: n.Field | n.Spread) -> str | None:
        value = self.flat(field.value, POSTFIX if isinstance(field, n.Spread) else LOOSEST)
        return None if value is None else field_head(field) + ("" if is_pun(field) else value)

    def flat_argument(self, argument: n.Argument) -> str | None:
        value = self.flat(argument.value, POSTFIX if argument.is_spread else LOOSEST)
        return None if value is None else argument_head(argument) + value

    def _flat_comprehension(self, node: n.Comprehension) -> str | None:
        parts = [self.flat(node.element), *map(self.flat_clause, node.clauses)]
        if node.condition:
            condition = self.flat(node.condition)
            parts.append(condition and f"if {condition}")
        texts = [part for part in parts if part is not None]
        if len(texts) < len(parts) or not self.may_be_flat(self.layout.region(node)):
            return None
        return f"[{' '.join(texts)}]"

    def flat_clause(self, clause: n.Clause) -> str | None:
        iterable = self.flat(clause.iterable)
        return None if iterable is None else f"for {clause.name} in {iterable}"

    def _flat_pipe(self, node: n.Pipe) -> str | None:
        steps = pipe_steps(node)
        texts = [self.flat(steps[0], PIPE), *(self.flat(step, POSTFIX) for step in steps[1:])]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts) or not self.may_be_flat(self.layout.region(node)):
            return None
        return " |> ".join(known)

    def _flat_call(self, node: n.Call) -> str | None:
        callee = self.flat(node.callee, POSTFIX)
        texts = [self.flat_argument(argument) for argument in node.arguments]
        arguments = self.flat_list("(", texts, ")", self.layout.region(node))
        if callee is None or arguments is None:
            return None
        if node.block is None:
            return callee + arguments
        block = self.flat_entries(node.block, self.layout.region(node, "block"))
        return None if block is None else f"{callee}{arguments} {block}"

    def flat_index(self, item: n.Expr | n.Slice | n.Strided | n.Ellipsis | n.Newaxis) -> str | None:
        match item:
            case n.Ellipsis():
                return "..."
            case n.Newaxis():
                return "newaxis"
            case n.Slice() | n.Strided():
                ends = [self.flat(end) if end else "" for end in slice_parts(item)]
                return None if None in ends else ":".join(map(str, ends))
        return self.flat(item)

    def parameters(self, node: n.Lambda) -> str:
        patterns = [pattern_text(pattern) for pattern in node.parameters]
        if len(patterns) == 1 and isinstance(node.parameters[0], n.NamePattern):
            return f"{patterns[0]} => "
        return f"({', '.join(patterns)}) => "

    def sign_text(self, operator: str) -> str:
        return operator if operator == ".." else f" {operator} "


def slice_parts(item: n.Slice | n.Strided) -> list[n.Expr | None]:
    """What stands between the colons of a slice."""
    return [item.start, item.stop] + ([item.step] if isinstance(item, n.Strided) else [])


def precedence(node: n.Expr) -> int:
    """How tightly the outermost operator of an expression binds."""
    match node:
        case n.Lambda() | n.Conditional():
            return LOOSEST
        case n.Binary(operator=operator):
            return PRECEDENCE[operator]
        case n.Pipe():
            return PIPE
        case n.Unary(operator=operator):
            return UNARY_MINUS if operator == "-" else PRECEDENCE["not"]
    return POSTFIX


def left_level(operator: str) -> int:
    """How tightly the left operand of an operator has to bind to need no parentheses."""
    level = PRECEDENCE[operator]
    return level + (level in (COMPARISON, RANGE, POWER))


def right_level(operator: str) -> int:
    """How tightly the right operand of an operator has to bind to need no parentheses."""
    level = PRECEDENCE[operator]
    return UNARY_MINUS if level == POWER else level + 1


def prefix_level(operator: str) -> int:
    """How tightly the operand of a prefix has to bind to need no parentheses."""
    return UNARY_MINUS if operator == "-" else PRECEDENCE["not"]


def prefix_sign(operator: str) -> str:
    return "-" if operator == "-" else "not "


def argument_head(argument: n.Argument) -> str:
    if argument.is_spread:
        return "..."
    return f"{argument.name} = " if argument.name else ""


def is_pun(field: n.Field | n.Spread) -> bool:
    return isinstance(field, n.Field) and field.pun


def field_head(field: n.Field | n.Spread) -> str:
    if isinstance(field, n.Spread):
        return "..."
    return field.name if field.pun else f"{field.name}: "


def pattern_text(pattern: n.Pattern) -> str:
    """Print the parameter of a lambda."""
    if isinstance(pattern, n.NamePattern):
        return pattern.name
    fields = [f.field if f.field == f.name else f"{f.field}: {f.name}" for f in pattern.fields]
    return f"{{{', '.join(fields)}}}"


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def quoted(value: str) -> str:
    """Print a string literal."""
    return f'"{value.translate(_ESCAPES)}"'
