"""Modules: the standard library's, read as far as it is used, and files of the user's own, parsed when opened."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from etude.compiler import module_faults
from etude.compiler.definitions import define_lazily, definitions, value_of
from etude.compiler.diagnostics import Diagnostic, Edit, Fix, Location, RecipeError, Related, Source
from etude.compiler.scopes import Scope
from etude.compiler.values import POISON, Record
from etude.grammar import nodes
from etude.grammar.faults import SyntaxFault, SyntaxWarning_
from etude.grammar.parser import parse

FOLDER = Path(__file__).parent / "std"
ALWAYS_OPEN = ("std.train", "std.models", "std.losses", "std.metrics")


ReadModule = Callable[[str], str]


class Ambiguous(Struct, frozen=True):
    """A name that two opened modules define."""

    name: str
    modules: tuple[str, ...]

    def resolve(self, evaluator: Any, location: Location) -> Any:
        raise module_faults.ambiguous_name(self.name, self.modules, location)


def known_modules() -> list[str]:
    """The names of all modules of the standard library."""
    return sorted(f"std.{path.stem}" for path in FOLDER.glob("*.etude"))


def module_with(name: str) -> str | None:
    """The module that must be opened for a name of the library."""
    closed = (module for module in known_modules() if module not in ALWAYS_OPEN)
    return next((module for module in closed if any(d.name == name for d in definitions(text_of(module)))), None)


def text_of(module: str) -> str:
    """The text of a module of the standard library."""
    return (FOLDER / f"{module.removeprefix('std.')}.etude").read_text(encoding="utf-8")


class Library:
    """Opens modules, each once, below a scope with the builtins."""

    def __init__(self, builtins: Scope, read: ReadModule, bind: Callable[[nodes.Program, Scope], None]) -> None:
        self.base, self.read, self.bind = builtins, read, bind
        self.opened: dict[str, Scope] = {}
        self.givers: dict[tuple[int, str], str] = {}
        self.loading: list[str] = []

    def always_open(self) -> Scope:
        """The scope in which a recipe is written: the builtins and the modules that need no `use`."""
        scope = Scope(self.base.source, self.base, {}, is_library=True)
        for path in ALWAYS_OPEN:
            for name, value in self.module(path).items():
                scope.names.setdefault(name, value)
        return scope

    def module(self, path: str) -> dict[str, Any]:
        """The names that a module defines; its code sees the builtins and all modules that are always open."""
        if path not in self.opened:
            self._load(path, Source(path, text_of(path)), is_library=True)
        return self.opened[path].names

    def _load(self, path: str, source: Source, *, is_library: bool) -> None:
        parent: Any = LazyParent(self)
        if not is_library:
            parent = Scope(source, parent, {})  # what the file uses itself, and does not hand on
        scope = Scope(source, parent, {}, is_library=is_library)
        self.opened[path] = scope
        self.loading.append(path)
        if is_library:
            program = nodes.Program(tuple(define_lazily(source, scope)), span=nodes.Span(0, len(source.text)))
        else:
            program = parse(source.text)
            define(program, scope)
        self.bind(program, scope)
        self.loading.pop()

    def open(self, node: nodes.Use, into: Scope, where: Location) -> None:
        """`use std.ssl` or `use "lib/tune.etude" as tune` into the scope of a file. A path is relative to the file that
        it stands in."""
        if node.alias is not None:
            into.names[node.alias] = POISON  # until it is open: what uses the name after a fault is silent
        names = self._file(self._resolved(node.path, where), where) if node.is_file else self._known(node.path, where)
        if node.alias is not None:
            into.names[node.alias] = Record(names)
            return
        for name, value in names.items():
            self._add(into, name, value, node.path)

    def _known(self, path: str, where: Location) -> dict[str, Any]:
        if path not in known_modules():
            raise module_faults.unknown_module(path, where, known_modules())
        return self.module(path)

    def _resolved(self, path: str, where: Location) -> str:
        """A path as it is from the folder of the recipe."""
        user = where.source.name if where.source.name in self.opened else ""
        return posixpath.normpath(posixpath.join(posixpath.dirname(user), path))

    def _file(self, path: str, where: Location) -> dict[str, Any]:
        if path in self.loading:
            raise module_faults.module_cycle([*self.loading[self.loading.index(path) :], path], where)
        if path not in self.opened:
            try:
                source = Source(path, self.read(path))
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not a text file"
                raise module_faults.unreadable_module(path, where, _reason(reason)) from None
            try:
                self._load(path, source, is_library=False)
            except SyntaxFault as fault:
                del self.opened[path]
                self.loading.remove(path)
                raise RecipeError(syntax_diagnostic(source, fault)) from None
        return self.opened[path].names

    def _add(self, scope: Scope, name: str, value: Any, module: str) -> None:
        """Add a module's name; one that another module gave already is ambiguous where it is used."""
        giver = self.givers.setdefault((id(scope), name), module)
        if giver != module and name in scope.names:
            scope.names[name] = Ambiguous(name, (giver, module))
        else:
            scope.names[name] = value


def _reason(text: str) -> str:
    """What the system says about a file, as a part of a sentence."""
    known = {"No such file or directory": "there is no such file", "Is a directory": "it is a folder"}
    return known.get(text, text[:1].lower() + text[1:])


def alias_place(node: nodes.Use, source: Source) -> Location:
    """Where the name stands that a module is opened under."""
    assert node.alias is not None
    return Location(source, nodes.Span(node.span.end - len(node.alias), node.span.end))


class LazyParent:
    """The scope above a module: everything that is always open, looked up when a name is."""

    is_model = False

    def __init__(self, library: Library) -> None:
        self.library = library
        self.parent: Scope | None = library.base
        self.known: dict[str, Any] = {}

    @property
    def names(self) -> dict[str, Any]:
        if not self.known and all(path in self.library.opened for path in ALWAYS_OPEN):
            self.known = {n: v for path in ALWAYS_OPEN for n, v in self.library.module(path).items()}
        return self.known or {n: v for path in ALWAYS_OPEN for n, v in self.library.module(path).items()}


def syntax_diagnostic(source: Source, fault: SyntaxFault | SyntaxWarning_) -> Diagnostic:
    """A syntax fault or warning as a diagnostic."""
    related = tuple(Related(Location(source, span), label) for span, label in fault.related)
    place = Location(source, fault.span)
    return Diagnostic(fault.code, fault.message, place, fault.label, related, fault.help, _fixes(source, fault))


def _fixes(source: Source, fault: SyntaxFault | SyntaxWarning_) -> tuple[Fix, ...]:
    if fault.remedy is None:
        return ()
    edits = tuple(Edit(Location(source, span), text) for span, text in fault.remedy.edits)
    return (Fix(fault.remedy.title, edits, fault.remedy.is_safe),)


def define(program: nodes.Program, scope: Scope) -> None:
    """Put the functions and models of a file into its scope."""
    for statement in program.statements:
        if isinstance(statement, nodes.Fn | nodes.ModelDef):
            scope.names[statement.name] = value_of(statement, scope)
