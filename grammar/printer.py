"""Printing of trees: canonical text, from the tree alone or with the choices of the text it came from."""

from __future__ import annotations

from collections.abc import Sequence

from etude.grammar import nodes as n
from etude.grammar.expression_printer import STEP, WIDTH, ExpressionPrinter
from etude.grammar.layout import Layout, Region
from etude.grammar.one_line import quoted


def print_program(program: n.Program, layout: Layout | None = None) -> str:
    """Print a program; without a layout it has its comments from `doc` only, and breaks lines where it must.

    >>> from etude.grammar.parser import parse
    >>> print_program(parse("x  =  (1+2) *  3"))
    'x = (1 + 2) * 3\\n'
    """
    return Printer(layout or Layout()).program(program)


class Printer(ExpressionPrinter):
    """Prints statements, blocks and bodies."""

    def program(self, program: n.Program) -> str:
        region = self.layout.region(program)
        lines = self.lines(program.statements, self.statement, region, 0)
        return "".join(f"{line}\n" for line in lines)

    def statement(self, node: n.Node, indent: int, column: int) -> str:
        """Print one statement, which starts a line."""
        match node:
            case n.Use():
                path = quoted(node.path) if node.is_file else node.path
                return f"use {path}" + (f" as {node.alias}" if node.alias else "")
            case n.Param():
                return self._param(node, indent)
            case n.Binding(name=name, value=value):
                head = self._head(node, name) + " = "
                return head + self.expr(value, indent, column + len(head))
            case n.Fn():
                return self._doc(node.doc, indent) + self._fn(node, indent)
            case n.ModelDef():
                return self._doc(node.doc, indent) + self._model(node, indent)
            case n.Expect(claim=claim, because=because):
                return self._claim("expect", node, claim, because, indent)
            case n.Assume(claim=claim, because=because):
                return self._claim("assume", node, claim, because, indent)
            case n.Report(entries=entries):
                region = self.layout.region(node)
                flat = self.flat_entries(entries, region)
                if flat is not None and len("report ") + len(flat) <= WIDTH:
                    return f"report {flat}"
                return f"report {self.entries(entries, region, indent)}"
        raise AssertionError(f"no way to print {type(node).__name__}")

    # --- what may be aligned ---

    def _head(self, item: n.Node, head: str) -> str:
        """Pad what stands before the `=` of an item to that of its neighbours, if the author aligned them."""
        heads = [self._head_text(neighbour) for neighbour in self.layout.aligned.get(id(item), ())]
        return head.ljust(max(map(len, heads), default=0))

    def _head_text(self, item: n.Node) -> str:
        match item:
            case n.Binding(name=name):
                return name
            case n.Argument(name=str() as name):
                return name
            case n.Param():
                return f"param {item.name}: {type_text(item.type)}"
            case n.Expect(claim=claim) | n.Assume(claim=claim):
                return f"{'expect' if isinstance(item, n.Expect) else 'assume'} {self.flat(claim) or ''}"
        raise AssertionError(f"nothing to align in {type(item).__name__}")

    def _claim(self, word: str, node: n.Expect | n.Assume, claim: n.Expr, because: str | None, indent: int) -> str:
        text = self.expr(claim, indent, indent + len(word) + 1)
        if because is None:
            return f"{word} {text}"
        reason = f"because {quoted(because)}"
        neighbours = self.layout.aligned.get(id(node), ())
        width = max((len(self._head_text(item)) for item in neighbours), default=0)
        if neighbours and all(self._fits(item, width) for item in neighbours):
            return f"{word} {text}".ljust(width) + f" {reason}"
        last = text.rfind("\n")
        end = len(text) - last - 1 if last >= 0 else indent + len(word) + 1 + len(text)
        if end + 1 + len(reason) <= WIDTH:
            return f"{word} {text} {reason}"
        return f"{word} {text}\n{' ' * (indent + STEP)}{reason}"

    def _fits(self, item: n.Node, width: int) -> bool:
        """Whether a claim stays on one line when its `because` comes after `width` characters."""
        assert isinstance(item, n.Expect | n.Assume)
        reason = f"because {quoted(item.because or '')}"
        return self.flat(item.claim) is not None and width + 1 + len(reason) <= WIDTH

    # --- definitions ---

    def _doc(self, doc: str | None, indent: int) -> str:
        """Print the comment of a definition, unless the layout has it among its comments."""
        if doc is None or self.layout.has_text:
            return ""
        return "".join(f"#{' ' if line else ''}{line}\n{' ' * indent}" for line in doc.split("\n"))

    def _param(self, node: n.Param, indent: int) -> str:
        text = f"param {node.name}: {type_text(node.type)}"
        if node.default:
            text = self._head(node, text) + " = "
            text += self.expr(node.default, indent, indent + len(text))
        return text + (f" in {self.expr(node.range, indent, 0)}" if node.range else "")

    def _fn(self, node: n.Fn, indent: int) -> str:
        returns = f" -> {type_text(node.returns)}" if node.returns else ""
        ending = returns + (" {" if isinstance(node.body, n.Body) else " =")
        name = f"fn {node.name}"
        region = self.layout.region(node)
        head = name + self._parameter_list(node.parameters, region, indent, indent + len(name), len(ending)) + returns
        return head + self._definition(node.body, indent, len(head) - head.rfind("\n") - 1)

    def _definition(self, body: n.Body | n.Expr, indent: int, column: int) -> str:
        if isinstance(body, n.Body):
            flat = self.flat_body(body)
            fits = flat is not None and indent + column + 1 + len(flat) <= WIDTH
            return f" {flat}" if fits else f" {self.body(body, indent, column)}"
        return f" = {self.expr(body, indent, indent + column + 3)}"

    def _model(self, node: n.ModelDef, indent: int) -> str:
        head = f"model {node.name}"
        region = self.layout.region(node, "configuration")
        head += self._parameter_list(node.configuration, region, indent, indent + len(head), 2)
        region = self.layout.region(node, "inputs")
        head += self._parameter_list(node.inputs, region, indent, indent + len(head) - head.rfind("\n") - 1, 2)
        return head + self._definition(node.body, indent, len(head) - head.rfind("\n") - 1)

    def _parameter_list(
        self, parameters: Sequence[n.Parameter], region: Region | None, indent: int, column: int, rest: int
    ) -> str:
        texts = [self._flat_parameter(parameter) for parameter in parameters]
        flat = self.flat_list("(", texts, ")", region)
        if flat is not None and (column + len(flat) + rest <= WIDTH or not parameters):
            return flat
        return self.sequence("(", parameters, ")", self._parameter, region, indent, ",")

    def _flat_parameter(self, parameter: n.Parameter) -> str | None:
        head = parameter.name + (f": {type_text(parameter.type)}" if parameter.type else "")
        if parameter.default is None:
            return head
        default = self.flat(parameter.default)
        return None if default is None else f"{head} = {default}"

    def _parameter(self, parameter: n.Node, indent: int, column: int) -> str:
        assert isinstance(parameter, n.Parameter)
        head = parameter.name + (f": {type_text(parameter.type)}" if parameter.type else "")
        if parameter.default is None:
            return head
        return f"{head} = {self.expr(parameter.default, indent, column + len(head) + 3, 1)}"

    # --- bodies and blocks ---

    def body(self, body: n.Body, indent: int, column: int) -> str:
        def item(node: n.Node, indent: int, column: int) -> str:
            if node is body.result:
                return "return " + self.expr(body.result, indent, column + len("return "))
            return self.statement(node, indent, column)

        return self.sequence("{", (*body.statements, body.result), "}", item, self.layout.region(body), indent)

    def flat_body(self, body: n.Body) -> str | None:
        """Print a body on one line only where the author did; without an author, if it only returns."""
        if not self.may_be_flat(self.layout.region(body)) or (body.statements and not self.layout.has_text):
            return None
        result = self.flat(body.result)
        parts = [*map(self._flat_statement, body.statements), result and f"return {result}"]
        texts = [part for part in parts if part is not None]
        return f"{{ {'  '.join(texts)} }}" if len(texts) == len(parts) else None

    def _flat_statement(self, statement: n.Binding | n.Fn) -> str | None:
        if isinstance(statement, n.Binding):
            value = self.flat(statement.value)
            return None if value is None else f"{statement.name} = {value}"
        text = self._fn(statement, 0)
        return None if "\n" in text else text

    def entries(self, entries: Sequence[n.Argument], region: Region | None, indent: int) -> str:
        if not entries and (region is None or not region.has_comments):
            return "{}"
        return self.sequence("{", entries, "}", self._entry, region, indent)

    def flat_entries(self, entries: Sequence[n.Argument], region: Region | None) -> str | None:
        if not self.may_be_flat(region) or (len(entries) > 1 and not self.layout.has_text):
            return None
        parts = [self.flat_argument(entry) for entry in entries]
        texts = [part for part in parts if part is not None]
        if len(texts) < len(parts):
            return None
        return f"{{ {'  '.join(texts)} }}" if texts else "{}"

    def _entry(self, entry: n.Node, indent: int, column: int) -> str:
        assert isinstance(entry, n.Argument)
        if entry.name is None:
            return self.argument(entry, indent, column)
        head = self._head(entry, entry.name) + " = "
        return head + self.expr(entry.value, indent, column + len(head))


def type_text(node: n.TypeNode) -> str:
    """Print a type, always on one line."""
    if isinstance(node, n.RecordType):
        return f"{{{', '.join(f'{name}: {type_text(type_)}' for name, type_ in node.fields)}}}"
    arguments = f"[{', '.join(map(type_text, node.arguments))}]" if node.arguments else ""
    size = "" if node.size is None else f"({node.size})"
    return node.name + arguments + size + ("?" if node.optional else "")
