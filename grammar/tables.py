"""The parsing tables: built by lark from `etude.lark`, kept in the user's cache folder between runs.

There are two files: the plain tables of the automaton, which every text is read by, and lark's own, for texts that have
mistakes to be explained. lark is imported only where they are built, or for the second.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from etude.grammar.automaton import Tables

if TYPE_CHECKING:
    import lark

GRAMMAR = Path(__file__).with_name("etude.lark")
FORMAT = 1
"""Raised by hand when `Tables` changes."""


def load() -> Tables:
    """The tables of the automaton; without a writable cache folder they are built each time."""
    grammar = GRAMMAR.read_text(encoding="utf-8")
    path = table_path(f"automaton {FORMAT}\n{grammar}")
    try:
        return Tables(*pickle.loads(path.read_bytes()))
    except Exception:  # no file, no right to read it, or a damaged one, for which pickle may raise anything
        tables = extract(build(grammar))
        _keep(path, astuple(tables))
        return tables


def load_lark() -> lark.Lark:
    """lark's own parser for the same grammar."""
    import lark

    grammar = GRAMMAR.read_text(encoding="utf-8")
    path = table_path(f"lark {lark.__version__}\n{grammar}")
    return _read(path) or _build_and_keep(grammar, path)


def build(grammar: str, strict: bool = False) -> lark.Lark:
    """Build the parser from the text of the grammar; `strict` makes conflicts errors."""
    import lark

    options = {"keep_all_tokens": True, "maybe_placeholders": False, "strict": strict}
    return lark.Lark(grammar, parser="lalr", lexer="basic", **options)


def extract(parser: lark.Lark) -> Tables:
    """The plain tables of a parser that lark has built. Every rule of the grammar has an alias, or a single child."""
    machine: Any = parser.parser
    parsing, scanner = machine.parser._parse_table, machine.lexer.scanner
    keywords = {
        name: {terminal.pattern.value: terminal.name for terminal in unless.scanner.terminals}
        for name, unless in machine.lexer.callback.items()
    }
    indices = {rule: index for index, rule in enumerate(parser.rules)}
    states = {
        state: {
            name: -1 - indices[target] if action.name == "Reduce" else target
            for name, (action, target) in actions.items()
        }
        for state, actions in parsing.states.items()
    }
    return Tables(
        pattern="|".join(f"(?P<{terminal.name}>{terminal.pattern.to_regexp()})" for terminal in scanner.terminals),
        ignored=tuple(sorted(machine.lexer.ignore_types)),
        keywords=keywords,
        rules=tuple(_rule(rule) for rule in parser.rules),
        states=tuple(states[i] for i in range(len(states))),
        start=parsing.start_states["start"],
        end=parsing.end_states["start"],
    )


def _rule(rule: Any) -> tuple[str, int, str | None]:
    assert rule.alias or (rule.options.expand1 and len(rule.expansion) == 1), f"{rule} has no alias"
    return str(rule.origin.name), len(rule.expansion), rule.alias


def table_path(grammar: str) -> Path:
    """Name the user's own file for the tables of this grammar: a pickle, so never in a folder that others write to."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    digest = hashlib.sha256(grammar.encode()).hexdigest()[:16]
    return Path(home).expanduser() / "etude" / f"grammar-{digest}.pickle"


def _read(table: Path) -> lark.Lark | None:
    import lark

    try:
        data, memo = pickle.loads(table.read_bytes())
        parser: lark.Lark = lark.Lark._load_from_dict(data, memo)  # type: ignore[no-untyped-call]
    except Exception:  # no file, no right to read it, or a damaged one, for which pickle may raise anything
        return None
    return parser


def _build_and_keep(grammar: str, table: Path) -> lark.Lark:
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    parser = build(grammar)
    _keep(table, parser.memo_serialize([TerminalDef, Rule]))
    return parser


def _keep(table: Path, value: object) -> None:
    draft = table.with_suffix(f".{os.getpid()}")  # no other process may see half a table
    with contextlib.suppress(OSError, RuntimeError):
        table.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(pickle.dumps(value))
        draft.replace(table)
