"""Accounts: what the stage behind each key did, in the words of its recipe, for those who ask later what changed.

They stand in a table of the store that can be thrown away: a result without its account is as good as ever.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.compiler import wording
from etude.compiler.keys import key_parts
from etude.compiler.workflow import Stage, Workflow

Json = Any
TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
  key TEXT PRIMARY KEY, recipe TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, created REAL NOT NULL,
  account TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_name ON accounts (name, created);
CREATE INDEX IF NOT EXISTS by_kind ON accounts (kind, created);
CREATE TABLE IF NOT EXISTS programs (digest TEXT PRIMARY KEY, outline TEXT NOT NULL);
"""
AT_ONCE = 200  # accounts that wait to be written together


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a stage does. `inputs` has for each input its role, the stage that makes it, its port, and its content."""

    name: str
    kind: str
    settings: Mapping[str, Json]
    seeds: Mapping[str, Json]
    inputs: Sequence[Sequence[str | None]]
    backend: Sequence[str] | None
    semantics: Mapping[str, int | str]

    @staticmethod
    def of(
        stage: Stage, workflow: Workflow, hashes: Sequence[str | None], backend: str | None, precision: str
    ) -> Account:
        """The account of a stage whose inputs have these contents (None: not known); a `load` has its fingerprint."""
        parts = key_parts(stage, hashes, backend, precision)
        if stage.kind == "load":
            inputs: list[list[str | None]] = [["content", stage.spec["uri"], "", hashes[0]]]
        else:
            given = zip(wording.input_roles(stage), stage.inputs, hashes, strict=True)
            inputs = [[role, workflow.stages[ref.stage].name, ref.port, hash] for role, ref, hash in given]
        meanings = dict(parts["semantics"])
        meanings |= meanings.pop("operations")
        return Account(
            name=stage.name,
            kind=stage.kind,
            settings=wording.settings_of(stage),
            seeds=wording.seeds_of(stage),
            inputs=inputs,
            backend=parts["backend"],
            semantics=meanings,
        )

    def to_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__}, separators=(",", ":"))


@dataclass
class Accounts:
    """The table of accounts of a store; nothing is read or made before it is asked for."""

    root: Path
    _waiting: list[tuple[Any, ...]] = field(default_factory=list)
    _programs: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        return self.root / "accounts.sqlite"

    def add(self, key: str, recipe: str, account: Account, stage: Stage) -> None:
        """Keep the account of a stage that was executed."""
        self._waiting.append((key, recipe, account.name, account.kind, time.time(), account.to_json()))
        for program in wording.programs_of(stage):
            if program["digest"] not in self._told:
                self._told.add(program["digest"])
                self._programs[program["digest"]] = "\n".join(wording.outline(program))
        if len(self._waiting) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A table that cannot be written is done without: accounts only explain."""
        if not self._waiting:
            return
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(self.path, timeout=30)) as table, table:
            table.execute("PRAGMA synchronous = OFF")
            table.executescript(TABLES)
            table.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?)", self._waiting)
            table.executemany("INSERT OR IGNORE INTO programs VALUES (?, ?)", self._programs.items())
        self._waiting.clear()
        self._programs.clear()

    def of_key(self, key: str) -> Account | None:
        """The account of a result, None for one that was recorded without."""
        return next(self._select("key = ?", key), None)

    def of_name(self, name: str, kind: str, recipe: str) -> Account | None:
        """The latest stage of that name, of this recipe rather than of another."""
        found = self._select("name = ? AND kind = ? ORDER BY recipe = ? DESC, created DESC LIMIT 1", name, kind, recipe)
        return next(found, None)

    def of_kind(self, kind: str) -> Iterator[Account]:
        """The latest stages of a kind."""
        return self._select("kind = ? ORDER BY created DESC LIMIT 500", kind)

    def outline(self, digest: str) -> list[str] | None:
        """The lines of a tensor program."""
        rows = self._query("SELECT outline FROM programs WHERE digest = ?", digest)
        return rows[0][0].splitlines() if rows else None

    def _select(self, condition: str, *values: str) -> Iterator[Account]:
        for (text,) in self._query(f"SELECT account FROM accounts WHERE {condition}", *values):
            yield Account(**json.loads(text))

    def _query(self, query: str, *values: str) -> list[Any]:
        if not self.path.exists():
            return []
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as table:
                return table.execute(query, values).fetchall()
        except sqlite3.DatabaseError:
            return []
