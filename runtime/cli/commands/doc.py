"""Print what a name means: a library function, a builtin, an operation.

Without a name, all modules and families are listed; with the name of one, what is in it.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument, flag
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from etude.compiler.documentation import Entry, Group

EXAMPLES = (
    ("etude doc", "List the modules of the library, and the families of builtins and operations."),
    ("etude doc std.ssl", "List what a module has."),
    ("etude doc simclr", "Print the signature, meaning, shapes, defaults and source of a function."),
    ("etude doc conv --json", "The same of an operation, as JSON."),
)
WIDTH = 100


class Options(OptionSet):
    name: str | None = argument("a function, a model, an operation or a module", metavar="NAME", default=None)
    json: bool = flag("print JSON")


def run(options: Options) -> int:
    from etude.compiler.documentation import find, find_group, groups

    if options.name is None:
        return _show({"groups": [_outline(group) for group in groups()]}, _index(groups()), options)
    entries = find(options.name)
    if entries:
        shown = (line for entry in entries for line in _entry(entry))
        return _show({"entries": [_described(entry) for entry in entries]}, shown, options)
    group = find_group(options.name)
    if group is None:
        raise _unknown(options.name)
    return _show({"groups": [_outline(group)]}, _listing(group), options)


def _show(data: dict[str, Any], lines: Iterable[str], options: Options) -> int:
    if options.json:
        print_json(data)
    else:
        print("\n".join(lines).strip("\n"))
    return faults.OK


def _unknown(name: str) -> faults.UsageError:
    from etude.compiler.documentation import suggestion

    close = suggestion(name)
    hint = f"did you mean '{close}'?" if close else "`etude doc` lists all modules"
    return faults.UsageError(f"there is nothing called {name}", hint=hint)


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": entry.path,
        "kind": entry.kind,
        "group": entry.group,
        "open": entry.is_open,
        "signature": entry.signature,
        "arguments": [
            {"name": name, "type": type or None, "default": default} for name, type, default in entry.arguments
        ],
        "inputs": list(entry.inputs),
        "doc": entry.doc,
        "papers": entry.papers,
        "file": entry.file,
        "line": entry.line,
    }


def _outline(group: Group) -> dict[str, Any]:
    names = [{"name": e.name, "signature": e.signature, "summary": e.summary} for e in group.entries]
    return {"name": group.name, "doc": group.doc, "entries": names}


def _index(groups: Iterable[Group]) -> Iterator[str]:
    """All groups, with the names that they have."""
    paint = paint_for(sys.stdout)
    kinds = {
        "function": "library",
        "model": "library",
        "builtin": "builtins",
        "value": "builtins",
        "keyword": "grammar",
    }
    last = None
    for group in groups:
        kind = kinds.get(group.entries[0].kind, "operations")
        if kind != last:
            yield f"\n{paint(kind, 'bold')}"
        last = kind
        names = " ".join(entry.name for entry in group.entries)
        lines = textwrap.wrap(names, WIDTH - 18, break_on_hyphens=False)
        yield f"  {paint(f'{group.name:15}', 'cyan')} {lines[0]}"
        yield from (" " * 18 + line for line in lines[1:])


def _listing(group: Group) -> Iterator[str]:
    """One group: each name with its first sentence."""
    paint = paint_for(sys.stdout)
    use = "" if all(entry.is_open for entry in group.entries) else f"   (use {group.name})"
    yield paint(group.name, "bold") + use
    yield from _wrapped(group.doc, "")
    for entry in group.entries:
        yield f"\n  {paint(entry.signature, 'cyan')}"
        yield from _wrapped(entry.summary, "      ")


def _entry(entry: Entry) -> Iterator[str]:
    """All about one name."""
    paint = paint_for(sys.stdout)
    where = f"{entry.kind} of {entry.group}" + ("" if entry.is_open else f", opened by `use {entry.group}`")
    yield f"\n{paint(entry.path, 'bold')}   {where}\n"
    yield from (paint(line, "cyan") for line in _wrapped(entry.signature, "  "))
    yield ""
    yield from _wrapped(entry.doc, "  ")
    yield ""
    defaults = ", ".join(f"{name} = {default}" for name, _, default in entry.arguments if default is not None)
    facts = {"defaults": defaults, "inputs": ", ".join(entry.inputs), "paper": "; ".join(entry.papers)}
    facts["defined in"] = f"{entry.file}:{entry.line}"
    for name, text in facts.items():
        if text:
            first, *more = _wrapped(text, " " * 14)
            yield f"  {paint(f'{name:12}', 'dim')}{first.lstrip()}"
            yield from more


def _wrapped(text: str, indent: str) -> list[str]:
    """Paragraphs of text, broken into lines."""
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    settings: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": indent, "break_on_hyphens": False}
    return [line for each in paragraphs for line in textwrap.wrap(each, WIDTH, **settings)]
