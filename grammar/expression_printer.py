"""Printing of expressions: on one line where they fit and the author did not break them, else over several.

Text is printed from a column on; the lines after the first are indented by `indent`. `rest` is the room that what
follows on the last line needs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from etude.grammar import nodes as n
from etude.grammar.layout import Region, pipe_steps
from etude.grammar.one_line import (
    LOOSEST,
    OneLinePrinter,
    argument_head,
    field_head,
    is_pun,
    left_level,
    prefix_level,
    prefix_sign,
    right_level,
    slice_parts,
)
from etude.grammar.operators import PIPE, POSTFIX, POWER, PRECEDENCE

WIDTH = 120
STEP = 2
Item = Callable[[n.Node, int, int], str]


class ExpressionPrinter(OneLinePrinter):
    """Prints expressions as a layout wants them; a subclass adds the statements of bodies."""

    @abstractmethod
    def body(self, body: n.Body, indent: int, column: int) -> str:
        """Print a body over several lines."""

    @abstractmethod
    def entries(self, entries: Sequence[n.Argument], region: Region | None, indent: int) -> str:
        """Print a block over several lines."""

    def expr(self, node: n.Expr, indent: int, column: int, rest: int = 0, level: int = LOOSEST) -> str:
        """Print an operand of an operator that binds at `level`."""
        flat = self.flat(node, level)
        if flat is not None and column + len(flat) + rest <= WIDTH:
            return flat
        if self.needs_parentheses(node, level):
            return f"({self._broken(node, indent, column + 1, rest + 1)})"
        return self._broken(node, indent, column, rest)

    def loop_head(self, node: n.Loop) -> str:
        parts = [f"{node.carry} = {self._whole(node.start)}"]
        if node.iterable:
            parts.append(f"{node.variable} in {self._whole(node.iterable)}")
        if node.condition:
            parts.append(f"while {self._whole(node.condition)}")
        return f"loop ({', '.join(parts)})"

    def _whole(self, node: n.Expr) -> str:
        """Print inside a head, which itself has no way to break."""
        return self.expr(node, 0, 0)

    def _broken(self, node: n.Expr, indent: int, column: int, rest: int) -> str:
        match node:
            case n.ListExpr(items=items):
                return self._list(items, self.layout.region(node), indent, column, rest)
            case n.RecordExpr(fields=fields):
                return self.sequence("{", fields, "}", self._field, self.layout.region(node), indent, ",")
            case n.Comprehension():
                return self._comprehension(node, indent)
            case n.Lambda(body=body):
                head = self.parameters(node)
                if isinstance(body, n.Body):
                    return head + self.body(body, indent, column + len(head))
                return head + self.expr(body, indent, column + len(head), rest)
            case n.Conditional():
                return self._conditional(node, indent, column, rest)
            case n.Binary():
                return self._chain(node, indent, column, rest)
            case n.Pipe():
                return self._pipe(node, indent, column, rest)
            case n.Unary(operator=operator, operand=operand):
                sign = prefix_sign(operator)
                return sign + self.expr(operand, indent, column + len(sign), rest, prefix_level(operator))
            case n.Attribute(value=value, name=name):
                return self.expr(value, indent, column, rest + len(name) + 1, POSTFIX) + f".{name}"
            case n.Index():
                return self._index(node, indent, column, rest)
            case n.Call():
                return self._call(node, indent, column, rest)
            case n.Loop():
                head = self.loop_head(node)
                return f"{head} {self.body(node.body, indent, column + len(head) + 1)}"
            case _:
                return self.one_line(node) or ""

    def sequence(
        self,
        opener: str,
        items: Sequence[n.Node],
        closer: str,
        item: Item,
        region: Region | None,
        indent: int,
        separator: str = "",
    ) -> str:
        """Print items one a line between brackets, with their comments."""
        inner = indent + STEP
        lines = self.lines(items, item, region, inner, separator)
        opening = f"  {region.opening.text}" if region and region.opening else ""
        return "\n".join([opener + opening, *lines, " " * indent + closer])

    def lines(
        self,
        items: Sequence[n.Node],
        item: Item,
        region: Region | None,
        indent: int,
        separator: str = "",
        shift: int = 0,
    ) -> list[str]:
        """Print items one a line, each with the comments and the blank line before it, and those after the last.

        The caller will put the first item `shift` columns further to the right.
        """
        space = " " * indent
        last = len(items) - 1
        texts = [space + item(node, indent, indent) + separator * (i < last) for i, node in enumerate(items)]
        widths = [len(text) - text.rfind("\n") - 1 for text in texts]
        if texts and "\n" not in texts[0]:
            widths[0] += shift
        lines: list[str] = []
        for node, text, comment in zip(items, texts, self._line_ends(items, widths), strict=True):
            lines += [line and space + line for line in self.layout.leading.get(id(node), ())]
            lines.append(text + comment)
        return lines + [line and space + line for line in (region.tail if region else ())]

    def _line_ends(self, items: Sequence[n.Node], widths: Sequence[int]) -> list[str]:
        """The comments behind items whose last lines have these widths: in one column where they were in one."""
        ends = [""] * len(items)
        runs: list[list[int]] = []
        for i, item in enumerate(items):
            if id(item) not in self.layout.trailing:
                continue
            is_next = bool(runs) and runs[-1][-1] == i - 1
            if is_next and self._comment_place(items[i - 1])[0] == self._comment_place(item)[0]:
                runs[-1].append(i)
            else:
                runs.append([i])
        for run in runs:
            space = max(2, min(self._comment_place(items[i])[1] for i in run))
            column = max(widths[i] for i in run) + space
            for i in run:
                ends[i] = " " * (column - widths[i]) + self.layout.trailing[id(items[i])].text
        return ends

    def _comment_place(self, item: n.Node) -> tuple[int, int]:
        return self.layout.columns[self.layout.trailing[id(item)].span.start]

    def _list(self, items: tuple[n.Expr, ...], region: Region | None, indent: int, column: int, rest: int) -> str:
        if len(items) == 1 and is_huggable(items[0]) and self.may_be_flat(region):
            return f"[{self.expr(items[0], indent, column + 1, rest + 1)}]"
        return self.sequence("[", items, "]", self._item, region, indent, ",")

    def _item(self, node: n.Node, indent: int, column: int) -> str:
        return self.expr(node, indent, column, 1)  # type: ignore[arg-type]

    def _field(self, field: n.Node, indent: int, column: int) -> str:
        assert isinstance(field, n.Field | n.Spread)
        head = field_head(field)
        if is_pun(field):
            return head
        level = POSTFIX if isinstance(field, n.Spread) else LOOSEST
        return head + self.expr(field.value, indent, column + len(head), 1, level)

    def argument(self, argument: n.Node, indent: int, column: int) -> str:
        """Print one argument of a call."""
        assert isinstance(argument, n.Argument)
        head = argument_head(argument)
        level = POSTFIX if argument.is_spread else LOOSEST
        return head + self.expr(argument.value, indent, column + len(head), 1, level)

    def _comprehension(self, node: n.Comprehension, indent: int) -> str:
        region = self.layout.region(node)
        inner = indent + STEP
        tail = [text for text in map(self.flat_clause, node.clauses) if text is not None]
        if node.condition and (condition := self.flat(node.condition)) is not None:
            tail.append(f"if {condition}")
        is_whole = len(tail) == len(node.clauses) + bool(node.condition)
        has_comments = region is not None and region.has_comments
        if is_whole and not has_comments and inner + len(" ".join(tail)) <= WIDTH:
            space = " " * inner
            return f"[\n{space}{self.expr(node.element, inner, inner)}\n{space}{' '.join(tail)}\n{' ' * indent}]"
        items = [node.element, *node.clauses, *([node.condition] if node.condition else [])]
        return self.sequence("[", items, "]", self._part(node), region, indent)

    def _part(self, comprehension: n.Comprehension) -> Item:
        def part(node: n.Node, indent: int, column: int) -> str:
            if isinstance(node, n.Clause):
                head = f"for {node.name} in "
                return head + self.expr(node.iterable, indent, column + len(head))
            head = "if " if node is comprehension.condition else ""
            return head + self.expr(node, indent, column + len(head))  # type: ignore[arg-type]

        return part

    def _conditional(self, node: n.Conditional, indent: int, column: int, rest: int) -> str:
        inner = indent + STEP
        start = "\n" + " " * inner
        condition = self.expr(node.condition, indent, column + 3)
        then = self.expr(node.then, inner, inner + 5)
        otherwise = self.expr(node.otherwise, inner, inner + 5, rest)
        return f"if {condition}{start}then {then}{start}else {otherwise}"

    def _chain(self, node: n.Binary, indent: int, column: int, rest: int) -> str:
        """Break before each operator of a chain, or only inside its last operand where that is what needs lines."""
        left, sign = self.flat(node.left, left_level(node.operator)), self.sign_text(node.operator)
        is_forced = self.flat(node.right) is None and id(node) not in self.layout.broken
        if left is not None and is_forced and column + len(left) < WIDTH:
            start = column + len(left) + len(sign)
            return left + sign + self.expr(node.right, indent, start, rest, right_level(node.operator))
        first, operations = self._operations(node)
        inner = indent + STEP
        text = self.expr(first, indent, column, 0, left_level(operations[0].operator))
        for i, operation in enumerate(operations):
            head = operation.operator + " " * (operation.operator != "..")
            room = rest if i == len(operations) - 1 else 0
            operand = self.expr(operation.right, inner, inner + len(head), room, right_level(operation.operator))
            text += f"\n{' ' * inner}{head}{operand}"
        return text

    def _operations(self, node: n.Binary) -> tuple[n.Expr, list[n.Binary]]:
        """The first operand of a chain of operators that bind alike, and its operations in order."""
        operations = [node]
        level = PRECEDENCE[node.operator]
        while True:
            left = operations[-1].left
            is_link = isinstance(left, n.Binary) and PRECEDENCE[left.operator] == level != POWER
            if not isinstance(left, n.Binary) or not is_link or self.needs_parentheses(left, left_level(node.operator)):
                return left, operations[::-1]
            operations.append(left)

    def _pipe(self, node: n.Pipe, indent: int, column: int, rest: int) -> str:
        region = self.layout.region(node)
        steps = pipe_steps(node)
        if self.may_be_flat(region):
            texts = [self.flat(steps[0], PIPE), *(self.flat(step, POSTFIX) for step in steps[1:-1])]
            known = [text for text in texts if text is not None]
            head = " |> ".join(known) + " |> "
            if len(known) == len(texts) and self.flat(steps[-1]) is None and column + len(head) < WIDTH:
                return head + self.expr(steps[-1], indent, column + len(head), rest, POSTFIX)
        inner = indent + STEP
        lines = self.lines(steps, self._step(steps[0], column, rest), region, inner, shift=column - inner)
        return "\n".join(lines).lstrip()

    def _step(self, first: n.Expr, column: int, rest: int) -> Item:
        def step(node: n.Node, indent: int, at: int) -> str:
            if node is first:
                return self.expr(first, indent - STEP, column, 0, PIPE)
            return "|> " + self.expr(node, indent + STEP, at + 3, rest, POSTFIX)  # type: ignore[arg-type]

        return step

    def _index(self, node: n.Index, indent: int, column: int, rest: int) -> str:
        texts = [self.flat_index(item) or self._whole_index(item, indent) for item in node.items]
        items = f"[{', '.join(texts)}]"
        return self.expr(node.value, indent, column, rest + len(items), POSTFIX) + items

    def _whole_index(self, item: n.Node, indent: int) -> str:
        if isinstance(item, n.Slice | n.Strided):
            ends = [self.expr(end, indent, indent) if end else "" for end in slice_parts(item)]
            return ":".join(ends)
        return self.expr(item, indent, indent)  # type: ignore[arg-type]

    def _call(self, node: n.Call, indent: int, column: int, rest: int) -> str:
        callee = self.expr(node.callee, indent, column, 1, POSTFIX)
        at = len(callee) - callee.rfind("\n") - 1 if "\n" in callee else column + len(callee)
        if node.block is None:
            return callee + self._arguments(node, indent, at, rest)
        arguments = self._arguments(node, indent, at, 2)
        return f"{callee}{arguments} {self.entries(node.block, self.layout.region(node, 'block'), indent)}"

    def _arguments(self, node: n.Call, indent: int, column: int, rest: int) -> str:
        region = self.layout.region(node)
        texts = [self.flat_argument(argument) for argument in node.arguments]
        flat = self.flat_list("(", texts, ")", region)
        if flat is not None and (column + len(flat) + rest <= WIDTH or not node.arguments):
            return flat
        hugged = self._hugged(node, texts, indent, column, rest) if self.may_be_flat(region) else None
        return hugged or self.sequence("(", node.arguments, ")", self.argument, region, indent, ",")

    def _hugged(self, node: n.Call, texts: list[str | None], indent: int, column: int, rest: int) -> str | None:
        """Keep all arguments on the line of the call but let the last one, say a function, go on over lines."""
        last = node.arguments[-1]
        before = [text for text in texts[:-1] if text is not None]
        if len(before) < len(texts) - 1 or not is_huggable(last.value):
            return None
        head = "(" + "".join(f"{text}, " for text in before)
        if column + len(head) >= WIDTH:
            return None
        text = head + self.argument(last, indent, column + len(head)) + ")"
        first = text.split("\n", 1)[0]
        return text if "\n" in text and column + len(first) <= WIDTH else None


def is_huggable(node: n.Expr) -> bool:
    """Whether a node over several lines looks well right behind an opening bracket."""
    if isinstance(node, n.Lambda):
        return isinstance(node.body, n.Body) or is_huggable(node.body)
    return isinstance(node, n.RecordExpr | n.ListExpr | n.Comprehension) or (
        isinstance(node, n.Call) and node.block is not None
    )
