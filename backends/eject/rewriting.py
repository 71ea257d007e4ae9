"""Write functions anew around parameters that have become constants: decided conditions are gone, the rest stays."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from etude.backends.emission.layout import INDENT, WIDTH, quoted

# Scripts compute in float32: what is for other precisions is never reached.
LOWER = re.compile(r"\w+\.dtype == jnp\.bfloat16")
Edit = tuple[int, int, str]
Known = Mapping[str, ast.Constant]


class Source:
    """A text with its tree, and the places of nodes in it."""

    def __init__(self, code: str) -> None:
        self.code, self.tree = code, ast.parse(code)
        self.lines = code.splitlines()
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Where an expression starts and ends, in characters."""
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno or 0, node.end_col_offset or 0)

    def text(self, node: ast.expr) -> str:
        """The text of an expression."""
        start, end = self.span(node)
        return self.code[start:end]

    def edited(self, edits: Sequence[Edit], start: int = 0, end: int | None = None) -> str:
        """A part of the text with other texts in some places, which do not overlap."""
        text, at = "", start
        for first, last, new in sorted(edits):
            text += self.code[at:first] + new
            at = last
        return text + self.code[at : len(self.code) if end is None else end]

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())


class Rewriter:
    """Writes a function for some parameters that have known values."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def function(self, node: ast.FunctionDef, known: Known) -> str:
        """The function without these parameters."""
        before = self.source.lines[: node.lineno - 1]
        return "\n".join(
            [*before, *self._header(node, known), *self._block(node.body, dict(known), node.body[0].lineno - 1)]
        )

    def _header(self, node: ast.FunctionDef, known: Known) -> list[str]:
        places = {arg.arg: place for place, arg in enumerate(reversed(node.args.args))}
        defaults = dict(enumerate(reversed(node.args.defaults)))
        given = [self._parameter(arg, defaults.get(places[arg.arg])) for arg in node.args.args if arg.arg not in known]
        named = [
            self._parameter(arg, value)
            for arg, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if arg.arg not in known
        ]
        parameters = [*given, *(["*"] if named else []), *named]
        inside = ", ".join(parameters)
        returns = f" -> {self.source.text(node.returns)}" if node.returns else ""
        line = f"def {node.name}({inside}){returns}:"
        if len(line) <= WIDTH:
            return [line]
        fits = len(INDENT + inside) <= WIDTH
        lines = [INDENT + inside] if fits else [f"{INDENT}{parameter}," for parameter in parameters]
        return [f"def {node.name}(", *lines, f"){returns}:"]

    def _parameter(self, arg: ast.arg, default: ast.expr | None) -> str:
        kind = f": {self.source.text(arg.annotation)}" if arg.annotation else ""
        equals = " = " if arg.annotation else "="
        return f"{arg.arg}{kind}{f'{equals}{self.source.text(default)}' if default else ''}"

    def _block(self, body: Sequence[ast.stmt], known: dict[str, ast.Constant], after: int) -> list[str]:
        """The lines of statements, with the comments before each; `after` is the line before the first."""
        lines: list[str] = []
        for statement in body:
            decided = self._decided(statement.test, known) if isinstance(statement, ast.If) else None
            if isinstance(statement, ast.If) and decided is not None:
                chosen = statement.body if decided else statement.orelse
                first = chosen[0].lineno - 1 if chosen else 0
                lines += [line.removeprefix(INDENT) for line in self._block(chosen, known, first)]
                if chosen and isinstance(chosen[-1], ast.Return | ast.Raise):
                    return lines
            else:
                lines += self.source.lines[after : statement.lineno - 1]
                lines += self._statement(statement, known)
            after = statement.end_lineno or after
        return lines

    def _statement(self, node: ast.stmt, known: dict[str, ast.Constant]) -> list[str]:
        """A statement in which known names are their values; what it assigns is not known from here on."""
        inner = getattr(node, "body", None)
        assigned = {
            each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }
        if inner:
            for name in assigned & known.keys():
                del known[name]
        end = inner[0].lineno - 1 if inner else node.end_lineno or 0
        edits = [
            edit
            for part in ast.iter_child_nodes(node)
            if part not in (inner or ())
            for edit in self._edits(part, known)
        ]
        start, stop = self.source.starts[node.lineno - 1], self.source.starts[end] - 1
        inside = [edit for edit in edits if edit[1] <= stop]
        lines = self.source.edited(inside, start, stop).splitlines()
        if inner:
            lines += self._block(inner, dict(known), end)
            rest = getattr(node, "orelse", [])
            if rest:
                lines += [f"{' ' * node.col_offset}else:", *self._block(rest, dict(known), rest[0].lineno - 1)]
        for name in assigned & known.keys():
            del known[name]
        return lines

    def _edits(self, node: ast.AST, known: Known) -> Iterator[Edit]:
        """What to write in the place of parts of an expression."""
        new = self._instead(node, known) if isinstance(node, ast.expr) else None
        if isinstance(node, ast.expr) and new is not None:
            yield (*self.source.span(node), new)
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._edits(child, known)

    def _instead(self, node: ast.expr, known: Known) -> str | None:
        if isinstance(node, ast.Name) and node.id in known and isinstance(node.ctx, ast.Load):
            value = known[node.id].value
            return quoted(value) if isinstance(value, str) else repr(value)
        if isinstance(node, ast.IfExp) and (decided := self._decided(node.test, known)) is not None:
            return self._written(node.body if decided else node.orelse, known)
        if isinstance(node, ast.BoolOp):
            idle = isinstance(node.op, ast.And)
            left = [each for each in node.values if self._decided(each, known) is not idle]
            if 0 < len(left) < len(node.values):
                return (" and " if idle else " or ").join(self._written(each, known) for each in left)
        return None

    def _written(self, node: ast.expr, known: Known) -> str:
        return self.source.edited([*self._edits(node, known)], *self.source.span(node))

    def _decided(self, node: ast.expr, known: Known) -> bool | None:
        """Whether a condition holds, if that is known."""
        if LOWER.fullmatch(self.source.text(node)):
            return False
        match node:
            case ast.Constant():
                return bool(node.value)
            case ast.Name():
                return bool(known[node.id].value) if node.id in known else None
            case ast.UnaryOp(op=ast.Not()):
                inner = self._decided(node.operand, known)
                return None if inner is None else not inner
            case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq() as comparison]):
                sides = [
                    known.get(each.id) if isinstance(each, ast.Name) else each
                    for each in (node.left, *node.comparators)
                ]
                if not all(isinstance(each, ast.Constant) for each in sides):
                    return None
                left, right = (each.value for each in sides if isinstance(each, ast.Constant))
                return bool(left == right) is isinstance(comparison, ast.Is | ast.Eq)
            case ast.BoolOp():
                found = [self._decided(each, known) for each in node.values]
                ends = isinstance(node.op, ast.Or)
                return ends if ends in found else None if None in found else not ends
        return None
