"""Modules as text: what each name at their top level is, read without importing them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

Block = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
OURS = "etude."


@dataclass(frozen=True, slots=True)
class Import:
    """What a local name is: a module, or a name in it."""

    module: str
    name: str | None = None

    @property
    def is_ours(self) -> bool:
        return self.module.startswith(OURS)

    @property
    def is_standard(self) -> bool:
        return self.module.partition(".")[0] in sys.stdlib_module_names


class Module:
    """The top level of a module: `blocks` by the names that they define, `imports` by local name."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.lines = name, source.splitlines()
        tree = ast.parse(source)
        self.imports: dict[str, Import] = {}
        self.blocks: dict[str, list[Block]] = {}
        self.body_at = len(self.lines)
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= _imported(node)
            elif isinstance(node, Block):
                self.body_at = min(self.body_at, first_line(node) - 1)
                for defined in names_defined(node):
                    self.blocks.setdefault(defined, []).append(node)

    @property
    def body(self) -> str:
        """All that follows the imports."""
        return "\n".join(self.lines[self.body_at :]).strip("\n")

    def lines_of(self, node: Block) -> list[str]:
        """The lines of a definition, with decorators and the comment right above."""
        start = first_line(node) - 1
        while start and self.lines[start - 1].startswith("#"):
            start -= 1
        return self.lines[start : node.end_lineno]


@cache
def module_named(name: str) -> Module:
    """The source of an installed module."""
    spec = importlib.util.find_spec(name)
    source = getattr(spec and spec.loader, "get_source", lambda name: None)(name)
    assert source is not None, f"{name} has no source"
    return Module(name, source)


def first_line(node: Block) -> int:
    """The line, from 1, at which a definition starts."""
    decorators = [] if isinstance(node, ast.Assign | ast.AnnAssign) else node.decorator_list
    return min([node.lineno, *(each.lineno for each in decorators)])


def names_defined(node: Block) -> list[str]:
    """The names that a definition binds at the top level."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def _imported(node: ast.Import | ast.ImportFrom) -> Mapping[str, Import]:
    if isinstance(node, ast.Import):
        return {each.asname or each.name: Import(each.name) for each in node.names}
    return {each.asname or each.name: Import(str(node.module), each.name) for each in node.names}


def global_names(node: Block) -> Iterator[ast.Name]:
    """Every mention, in a definition, of a name that it does not bind within."""
    inner = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    own = set(names_defined(node))
    mentions = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
    inner |= {each.id for each in mentions if isinstance(each.ctx, ast.Store) and each.id not in own}
    return (each for each in mentions if each.id not in inner)


def quoted_names(node: Block) -> set[str]:
    """The names within an alias of a type that stands in quotes."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)):
        return set()
    if not isinstance(node.value.value, str):
        return set()
    return {each.id for each in ast.walk(ast.parse(node.value.value)) if isinstance(each, ast.Name)}
