"""Gather from modules the definitions that some text needs, and the imports that these need, into one text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from etude.backends.eject.sources import Block, Import, Module, global_names, module_named, names_defined, quoted_names


@dataclass
class Linker:
    """Collects definitions, each after those that it needs, under names that are its own.

    `taken` are the names that the text around them uses at its top level.
    """

    taken: set[str]
    imports: dict[str, Import] = field(default_factory=dict)
    _names: dict[tuple[str, str] | Import, str] = field(default_factory=dict)
    _known: set[tuple[str, str]] = field(default_factory=set)
    _blocks: list[str] = field(default_factory=list)

    def add_all(self, module: Module) -> None:
        """Add every definition of a module in its order."""
        for name in module.blocks:
            self.add(module, name)

    def add(self, module: Module, name: str) -> str:
        """Add a definition with all that it needs, once; return the name that it has here."""
        nodes = module.blocks[name]
        defined = names_defined(nodes[0])
        if (module.name, name) not in self._known:
            self._known |= {(module.name, each) for each in defined}
            for each in defined:
                self._named((module.name, each), each)
            texts = [self._text(module, node) for node in nodes]
            separator = "\n" if isinstance(nodes[0], ast.Assign | ast.AnnAssign) else "\n\n\n"
            self._blocks.append(separator.join(texts))
        return self._names[module.name, name]

    def add_import(self, local: str, imported: Import, *, is_kept: bool = False) -> str:
        """Make what an import statement brings available; return the name that it has here: `local` if `is_kept`."""
        if is_kept:
            self.taken.discard(local)
        if imported.is_ours and imported.name is not None:
            return self.add(module_named(imported.module), imported.name)
        name = self._named(imported, local)
        self.imports[name] = imported
        return name

    def take(self) -> list[str]:
        """The definitions that were added since this was last asked."""
        blocks, self._blocks = self._blocks, []
        return blocks

    def _named(self, what: tuple[str, str] | Import, wish: str) -> str:
        if what not in self._names:
            name, count = wish, 1
            while name in self.taken:
                count += 1
                name = f"{wish}_{count}"
            self.taken.add(name)
            self._names[what] = name
        return self._names[what]

    def _resolved(self, module: Module, name: str) -> str:
        if name in module.imports:
            return self.add_import(name, module.imports[name])
        return self.add(module, name) if name in module.blocks else name

    def _text(self, module: Module, node: Block) -> str:
        """The source of a definition in which other definitions go by the names that they have here."""
        mentions = list(global_names(node))
        wanted = {each.id for each in mentions} | quoted_names(node) | set(names_defined(node))
        names = {name: self._resolved(module, name) for name in sorted(wanted)}
        lines = module.lines_of(node)
        changed = {name: new for name, new in names.items() if new != name}
        if not changed:
            return "\n".join(lines)
        return "\n".join(_renamed(lines, int(node.end_lineno or 0), node, mentions, changed))


def _renamed(
    lines: list[str], last: int, node: Block, mentions: Iterable[ast.Name], names: Mapping[str, str]
) -> list[str]:
    """`lines`, of which the last has that number, with other names where they are mentioned or defined."""
    found = [(each.lineno, each.col_offset, each.id) for each in mentions]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        found.append((node.lineno, len("def " if isinstance(node, ast.FunctionDef) else "class "), node.name))
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
        start, text = node.value.col_offset, str(node.value.value)
        found += [(node.lineno, start + 1 + match.start(), match[0]) for match in re.finditer(r"\w+", text)]
    changed = [line.encode() for line in lines]
    for line, column, name in sorted(found, reverse=True):
        at = line - last - 1
        if name in names:
            changed[at] = changed[at][:column] + names[name].encode() + changed[at][column + len(name.encode()) :]
    return [line.decode() for line in changed]


def import_lines(imports: Mapping[str, Import]) -> list[str]:
    """Import statements in the order that formatters want: the standard library, an empty line, the others."""
    blocks = [
        list(_statements({name: each for name, each in imports.items() if each.is_standard is standard}))
        for standard in (True, False)
    ]
    return [*blocks[0], *([""] if all(blocks) else []), *blocks[1]]


def _statements(imports: Mapping[str, Import]) -> Iterator[str]:
    whole = {name: each.module for name, each in imports.items() if each.name is None}
    for name, module in sorted(whole.items(), key=lambda item: item[1]):
        yield f"import {module}" if module == name else f"import {module} as {name}"
    members: dict[str, list[tuple[str, str]]] = {}
    for name, each in imports.items():
        if each.name is not None:
            members.setdefault(each.module, []).append((each.name, name))
    for module, pairs in sorted(members.items()):
        texts = [known if known == local else f"{known} as {local}" for known, local in sorted(pairs, key=_order)]
        yield f"from {module} import {', '.join(texts)}"


def _order(pair: tuple[str, str]) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    name = pair[0]
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), name
