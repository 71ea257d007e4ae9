"""Leave out of functions what a script never asks of them: arguments that are always the same, and code for others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from etude.backends.eject.rewriting import Rewriter, Source
from etude.backends.eject.sources import names_defined


def specialized(blocks: Sequence[str], rest: str) -> list[str]:
    """Definitions for the arguments that they are called with by each other and by `rest`, which stays as it is."""
    found = list(blocks)
    while (changed := _once(found, rest)) is not None:
        found = changed
    return found


def _once(blocks: Sequence[str], rest: str) -> list[str] | None:
    """The definitions without one that nothing mentions, or with one that is made simpler; nothing where none is."""
    for place, block in enumerate(blocks):
        others = [*blocks[:place], *blocks[place + 1 :]]
        if not _is_mentioned(block, [*others, rest]):
            return others
        source = Source(block)
        node = _function(source)
        fixed = _fixed(node, block, others, rest) if node else {}
        if node and fixed:
            text = Rewriter(source).function(node, fixed)
            return [text if each is block else _without(each, node, fixed) for each in blocks]
    return None


def _is_mentioned(block: str, texts: Sequence[str]) -> bool:
    names = {name for node in ast.parse(block).body for name in names_defined(node)}  # type: ignore[arg-type]
    return any(re.search(rf"\b{name}\b", text) for name in names for text in texts)


def _function(source: Source) -> ast.FunctionDef | None:
    """The function that a definition is, if it is one that can be written anew."""
    (node, *more) = source.tree.body
    if not isinstance(node, ast.FunctionDef) or more or node.decorator_list:
        return None
    is_hard = any(isinstance(each, ast.Try | ast.Match) for each in ast.walk(node))
    return None if is_hard or any(line.lstrip().startswith("elif ") for line in source.lines) else node


def _fixed(node: ast.FunctionDef, block: str, others: Sequence[str], rest: str) -> dict[str, ast.Constant]:
    """The parameters that have the same constant value in all calls, and that `rest` does not give."""
    inside = [call for text in others for call in _calls(text).get(node.name, ())]
    outside = _calls(rest).get(node.name, ())
    calls = [*inside, *outside]
    if None in calls or node.args.vararg or node.args.kwarg or node.name in _calls(block):
        return {}
    given = [_given(node, call) for call in inside if call] + [_given(node, call) for call in outside if call]
    fixed: dict[str, ast.Constant] = {}
    for name, default in _defaults(node).items():
        values = [arguments.get(name, default) for arguments in given]
        first = values[0] if values else None
        is_free = not any(name in arguments for arguments in given[len(inside) :]) and not _is_captured(node, name)
        if is_free and isinstance(first, ast.Constant) and all(value and _same(value, first) for value in values):
            fixed[name] = first
    return fixed


def _same(value: ast.expr, other: ast.expr) -> bool:
    return ast.dump(value) == ast.dump(other)


@lru_cache(maxsize=512)
def _calls(text: str) -> dict[str, list[ast.Call | None]]:
    """All calls of functions, by their names or in the space `random`; None for another mention of one."""
    found: dict[str, list[ast.Call | None]] = {}
    known: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _called(node.func) == "SimpleNamespace":
            known |= {id(keyword.value) for keyword in node.keywords}
        elif isinstance(node, ast.Call) and (name := _called(node.func)):
            known.add(id(node.func))
            has_star = any(isinstance(each, ast.Starred) for each in node.args) or None in [
                k.arg for k in node.keywords
            ]
            is_nested = any(_called(each.func) == name for each in _inner_calls(node))
            found.setdefault(name, []).append(None if has_star or is_nested else node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in known:
            found.setdefault(node.id, []).append(None)
    return found


def _inner_calls(node: ast.Call) -> Iterator[ast.Call]:
    below = [each for part in (*node.args, *node.keywords) for each in ast.walk(part)]
    return (each for each in below if isinstance(each, ast.Call))


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "random":
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _given(node: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr]:
    names = [arg.arg for arg in node.args.args]
    keywords = {each.arg: each.value for each in call.keywords if each.arg}
    return dict(zip(names, call.args, strict=False)) | keywords


def _defaults(node: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Every parameter with its default."""
    args, defaults = node.args.args, node.args.defaults
    found: dict[str, ast.expr | None] = dict.fromkeys(arg.arg for arg in args)
    found |= {arg.arg: value for arg, value in zip(args[len(args) - len(defaults) :], defaults, strict=True)}
    return found | {arg.arg: value for arg, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)}


def _is_captured(node: ast.FunctionDef, name: str) -> bool:
    """Whether a parameter means something else somewhere within, or changes and is read by a function within."""
    inner = [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef | ast.Lambda) and each is not node]
    loops = [each.target for each in ast.walk(node) if isinstance(each, ast.comprehension)]
    mentions = {id(each): each for each in ast.walk(node) if isinstance(each, ast.Name) and each.id == name}
    if any(id(each) in mentions for target in loops for each in ast.walk(target)):
        return True
    if any(arg.arg == name for part in inner for arg in ast.walk(part.args) if isinstance(arg, ast.arg)):
        return True
    is_read = any(id(each) in mentions for part in inner for each in ast.walk(part))
    return is_read and any(isinstance(each.ctx, ast.Store) for each in mentions.values())


def _without(block: str, node: ast.FunctionDef, fixed: dict[str, ast.Constant]) -> str:
    """A definition in which the calls of a function leave some arguments out."""
    source = Source(block)
    names = [arg.arg for arg in node.args.args]
    edits = []
    for call in _calls(block).get(node.name, ()):
        if call is not None:
            kept = [source.text(each) for each, name in zip(call.args, names, strict=False) if name not in fixed]
            kept += [f"{each.arg}={source.text(each.value)}" for each in call.keywords if each.arg not in fixed]
            edits.append((*source.span(call), f"{source.text(call.func)}({', '.join(kept)})"))
    return source.edited(edits)
