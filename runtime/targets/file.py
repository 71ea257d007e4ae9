"""Read the targets of an `etude.toml`: every mistake in it at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.compiler.diagnostics import Diagnostic, Location, Source
from etude.grammar.nodes import Span
from etude.runtime.targets.faults import unknown_setting, wrong_value
from etude.runtime.targets.places import find_places
from etude.runtime.targets.settings import PER_STAGE, SETTINGS, STAGE, Setting

Table = Mapping[str, Any]
TABLES = ("target", "track", "run", "store")  # the others are read by `runtime.tracking` and `runtime.cli.settings`


class TargetError(Exception):
    """There is no such target, or its file cannot be read."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class TargetFileError(Exception):
    """An `etude.toml` is wrong, in one place or several."""

    def __init__(self, file: str, diagnostics: list[Diagnostic]) -> None:
        super().__init__(f"{len(diagnostics)} problems in {file}")
        self.file, self.diagnostics = file, diagnostics


@dataclass(frozen=True)
class TargetFile:
    """The tables of a file by the name of their target, unchecked, and where everything stands."""

    source: Source
    tables: Mapping[str, Table]
    places: Mapping[tuple[str, ...], Span] = field(default_factory=dict)

    def location(self, *path: str) -> Location:
        """The place of `target.PATH`, or of the nearest table around it."""
        whole = ("target", *path)
        for end in range(len(whole), 0, -1):
            if whole[:end] in self.places:
                return Location(self.source, self.places[whole[:end]])
        return Location(self.source, Span(0, 0))


def read_file(path: Path) -> TargetFile:
    """The file, of which only the syntax is checked. Raises TargetError."""
    import tomllib

    name = _short(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TargetError(f"{name}: {error}", hint="the file describes targets: [target.NAME] and settings") from error
    source, places = Source(name, text), find_places(text)
    whole = TargetFile(source, {}, places)
    tables = data.get("target", {})
    other = [key for key in data if key not in TABLES]
    problems = [unknown_setting(key, "etude.toml", _top(whole, key), TABLES) for key in other]
    if not isinstance(tables, dict):
        problems.append(wrong_value("target", tables, whole.location(), "tables: [target.NAME]"))
    else:
        wrong = [name for name, table in tables.items() if not isinstance(table, dict)]
        problems += [
            wrong_value(each, tables[each], whole.location(each), f"a table: [target.{each}]") for each in wrong
        ]
    if problems:
        raise TargetFileError(name, problems)
    return TargetFile(source, tables, places)


def problems_of(file: TargetFile, name: str) -> Iterator[Diagnostic]:
    """What is wrong with the settings of a target, whatever it is combined with."""
    owner = f"the target '{name}'"
    for key, value in file.tables[name].items():
        if key != STAGE:
            yield from _problems(file, SETTINGS, owner, (name, key), value)
        elif not isinstance(value, dict):
            yield wrong_value(key, value, file.location(name, key), f'tables: [target.{name}.stage."NAME"]')
        else:
            for stage, settings in value.items():
                yield from _stage_problems(file, name, stage, settings)


def _stage_problems(file: TargetFile, name: str, stage: str, settings: Any) -> Iterator[Diagnostic]:
    place = (name, STAGE, stage)
    if not isinstance(settings, dict):
        yield wrong_value(stage, settings, file.location(*place), f'a table: [target.{name}.stage."{stage}"]')
        return
    for key, value in settings.items():
        yield from _problems(file, PER_STAGE, f"a stage of the target '{name}'", (*place, key), value)


def _problems(
    file: TargetFile, known: Mapping[str, Setting], owner: str, path: tuple[str, ...], value: Any
) -> Iterator[Diagnostic]:
    key = path[-1]
    if key not in known:
        names = [*known, *([STAGE] if known is SETTINGS else [])]
        yield unknown_setting(key, owner, file.location(*path), names)
        return
    setting = known[key]
    unknown = [each for each in value if each not in setting.keys] if setting.keys and isinstance(value, dict) else []
    for each in unknown:
        yield unknown_setting(each, f"the {key} of {owner}", file.location(*path, each), setting.keys)
    if not unknown and not setting.accepts(value):
        yield wrong_value(key, value, file.location(*path), setting.wants)


def _top(file: TargetFile, key: str) -> Location:
    """The first place of a table or setting outside of `target`."""
    found = [span for path, span in file.places.items() if path[:1] == (key,)]
    return Location(file.source, min(found, key=lambda span: span.start) if found else Span(0, 0))


def _short(path: Path) -> str:
    """The path as people would write it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
