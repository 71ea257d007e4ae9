"""What a printer keeps of a tree's text: comments, blank lines, line breaks, parentheses, alignment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct, field

from etude.grammar import nodes as n
from etude.grammar.comments import Comment, comments_of, masked
from etude.grammar.walk import descendants


class Region(Struct):
    """A sequence of items: what stands between two brackets, in a whole file, or along a chain of pipes."""

    start: int
    end: int
    items: tuple[n.Node, ...]
    is_broken: bool = False
    opening: Comment | None = None
    tail: list[str] = field(default_factory=list)
    has_comments: bool = False


class Layout(Struct):
    """The choices of an author; this one, of no text, leaves everything to the printer."""

    regions: dict[tuple[int, str], Region] = field(default_factory=dict)
    leading: dict[int, list[str]] = field(default_factory=dict)
    """For an item: the comment lines before it, and "" for a blank line."""
    trailing: dict[int, Comment] = field(default_factory=dict)
    columns: dict[int, tuple[int, int]] = field(default_factory=dict)
    """For a comment at the end of a line, by its offset: its column, and the space before it."""
    aligned: dict[int, tuple[n.Node, ...]] = field(default_factory=dict)
    """For an item: the neighbours, itself among them, whose `=` or `because` stand in one column."""
    in_parentheses: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    """Operators and conditionals with a line break between their parts."""
    has_text: bool = False

    def region(self, node: n.Node, part: str = "") -> Region | None:
        return self.regions.get((id(node), part))


def layout_of(program: n.Program, text: str) -> Layout:
    """Read the author's choices from the text of a program."""
    return _Reader(program, text).read()


class _Reader:
    def __init__(self, program: n.Program, text: str) -> None:
        self.program = program
        self.text = text
        self.code = masked(text)
        self.matches = _matches(self.code)
        self.line_starts = [0, *(i + 1 for i, char in enumerate(text) if char == "\n")]
        self.layout = Layout(has_text=True)
        self.inner_pipes: set[int] = set()

    def read(self) -> Layout:
        for node in descendants(self.program):
            for part, region in self._regions(node):
                self.layout.regions[id(node), part] = region
                self._align(region.items)
            if self._is_in_parentheses(node):
                self.layout.in_parentheses.add(id(node))
            if any("\n" in self.code[a.span.end : b.span.start] for a, b in _operands(node)):
                self.layout.broken.add(id(node))
        self._attach_comments()
        return self.layout

    # --- regions ---

    def _regions(self, node: n.Node) -> Iterator[tuple[str, Region]]:
        match node:
            case n.Program(statements=items):
                yield "", Region(-1, len(self.text) + 1, items)
            case n.Body():
                yield "", self._between(node.span.start, (*node.statements, node.result))
            case n.Report(entries=items):
                yield "", self._between(self.code.index("{", node.span.start), items)
            case n.ListExpr(items=items):
                yield "", self._between(self.code.index("[", node.span.start), items)
            case n.RecordExpr(fields=fields):
                yield "", self._between(self.code.index("{", node.span.start), fields)
            case n.Comprehension():
                condition = (node.condition,) if node.condition else ()
                items = (node.element, *node.clauses, *condition)
                yield "", self._between(self.code.index("[", node.span.start), items)
            case n.Call():
                yield from self._call_regions(node)
            case n.Fn():
                yield "", self._between(self.code.index("(", node.name_span.end), node.parameters)
            case n.ModelDef():
                start = self.code.index("(", node.name_span.end)
                yield "configuration", self._between(start, node.configuration)
                yield "inputs", self._between(self.code.index("(", self.matches[start]), node.inputs)
            case n.Pipe():
                if id(node) not in self.inner_pipes:
                    steps = pipe_steps(node)
                    is_broken = any("\n" in self.code[a.span.end : b.span.start] for a, b in pairwise(steps))
                    yield "", Region(steps[0].span.end, node.span.end, steps, is_broken)
                self.inner_pipes.add(id(node.value))

    def _call_regions(self, node: n.Call) -> Iterator[tuple[str, Region]]:
        start = self.code.index("(", node.callee.span.end)
        yield "", self._between(start, node.arguments)
        if node.block is not None:
            yield "block", self._between(self.code.index("{", self.matches[start]), node.block)

    def _between(self, start: int, items: tuple[n.Node, ...]) -> Region:
        is_broken = bool(items) and "\n" in self.code[start : items[0].span.start]
        return Region(start, self.matches[start], items, is_broken)

    def _is_in_parentheses(self, node: n.Node) -> bool:
        start, end = node.span.start, node.span.end
        return self.matches.get(start) == end - 1 and self.code[start] == "("

    # --- alignment ---

    def _align(self, items: tuple[n.Node, ...]) -> None:
        group: list[n.Node] = []
        column = None
        for item in items:
            sign = self._sign(item)
            is_next = bool(group) and self._line(group[-1].span.end - 1) + 1 == self._line(item.span.start)
            if sign is None or not is_next or self._column(sign) != column or type(item) is not type(group[-1]):
                self._keep(group)
                group = []
            if sign is not None:
                group.append(item)
                column = self._column(sign)
        self._keep(group)

    def _keep(self, group: Sequence[n.Node]) -> None:
        if len(group) > 1:
            self.layout.aligned |= {id(item): tuple(group) for item in group}

    def _sign(self, item: n.Node) -> int | None:
        """The offset of the `=` or the `because` that may be aligned with those of the neighbours."""
        match item:
            case n.Binding(name_span=name_span) | n.Argument(name_span=n.Span() as name_span):
                return self.code.index("=", name_span.end)
            case n.Param(default=n.Node()):
                return self.code.index("=", item.type.span.end)
            case n.Expect(because=str()) | n.Assume():
                return self.code.index("because", item.claim.span.end)
        return None

    def _line(self, offset: int) -> int:
        return bisect_right(self.line_starts, offset)

    def _column(self, offset: int) -> int:
        return offset - self.line_starts[self._line(offset) - 1]

    # --- comments and blank lines ---

    def _attach_comments(self) -> None:
        regions = sorted(self.layout.regions.values(), key=lambda region: (region.start, -region.end))
        comments: dict[int, list[Comment]] = {}
        for comment in comments_of(self.text):
            column = self._column(comment.span.start)
            line = self.text[comment.span.start - column : comment.span.start]
            self.layout.columns[comment.span.start] = column, column - len(line.rstrip())
            comments.setdefault(id(_innermost(regions, comment)), []).append(comment)
        for region in regions:
            self._fill(region, comments.get(id(region), []))

    def _fill(self, region: Region, comments: list[Comment]) -> None:
        region.has_comments = bool(comments)
        waiting = list(comments)
        at = region.start
        following = [*(item.span.start for item in region.items), region.end][1:]
        for item, limit in zip(region.items, following, strict=True):
            lines: list[str] = []
            inside: list[str] = []
            while waiting and waiting[0].span.start < item.span.end:
                comment = waiting.pop(0)
                if self._is_opening(region, comment):
                    region.opening = comment
                elif comment.span.start > item.span.start:
                    inside.append(comment.text)
                else:
                    lines += [*self._blank(at, comment.span.start, region), comment.text]
                    at = comment.span.end
            blank = self._blank(at, item.span.start, region)
            self.layout.leading[id(item)] = _hoisted(item, inside, [*lines, *blank])
            at = item.span.end
            if waiting and waiting[0].span.start < limit and self._line(waiting[0].span.start) == self._line(at - 1):
                self.layout.trailing[id(item)] = waiting[0]
                at = waiting.pop(0).span.end
        for comment in waiting:
            region.tail += [*self._blank(at, comment.span.start, region), comment.text]
            at = comment.span.end

    def _is_opening(self, region: Region, comment: Comment) -> bool:
        """Whether a comment stands right behind the opening bracket, on the same line."""
        if region.start < 0 or region.opening or self.matches.get(region.start) != region.end:
            return False
        return not self.text[region.start + 1 : comment.span.start].strip(" \t")

    def _blank(self, start: int, end: int, region: Region) -> list[str]:
        is_blank = start != region.start and _has_blank_line(self.code[max(start, 0) : end])
        return [""] if is_blank else []


def _hoisted(item: n.Node, inside: list[str], before: list[str]) -> list[str]:
    """The lines before an item, with the comments from the midst of it, where no line can hold them.

    A definition's own comment is the block right above it, and must stay so.
    """
    if not inside or not isinstance(item, n.Fn | n.ModelDef):
        return [*before, *inside]
    blank = before[:1] if before[:1] == [""] else []
    return [*blank, *inside, "", *before[len(blank) :]]


def _has_blank_line(gap: str) -> bool:
    return any(not line.strip() for line in gap.split("\n")[1:-1])


def _innermost(regions: list[Region], comment: Comment) -> Region:
    start = comment.span.start
    return max((r for r in regions if r.start < start < r.end), key=lambda region: region.start)


def _operands(node: n.Node) -> Iterator[tuple[n.Node, n.Node]]:
    match node:
        case n.Binary(left=left, right=right):
            yield left, right
        case n.Conditional():
            yield node.condition, node.then
            yield node.then, node.otherwise


def pipe_steps(node: n.Pipe) -> tuple[n.Expr, ...]:
    """The value at the head of a chain of pipes, and its calls."""
    steps: list[n.Expr] = []
    value: n.Expr = node
    while isinstance(value, n.Pipe):
        steps.append(value.call)
        value = value.value
    return (value, *reversed(steps))


def _matches(code: str) -> dict[int, int]:
    """For each opening bracket, the offset of the one that closes it."""
    stack: list[int] = []
    matches: dict[int, int] = {}
    for i, char in enumerate(code):
        if char in "([{":
            stack.append(i)
        elif char in ")]}" and stack:
            matches[stack.pop()] = i
    return matches
