"""Which trackers follow a run: `--track`, and the table `[track]` of `etude.toml`.

```toml
[track]
to = ["tensorboard", "mlflow"]

[track.mlflow]
uri = "http://localhost:5000"
```
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.runtime.sources import nearest
from etude.runtime.targets import FILE
from etude.runtime.targets.places import line_of
from etude.runtime.tracking import tracker_module, tracker_names

Json = Any
Chosen = dict[str, Mapping[str, Json]]
DEFAULT, NOTHING = ("tensorboard",), "none"


class TrackError(Exception):
    """There is no such tracker, it is not installed, or its settings are wrong."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class TrackTable:
    """The table `[track]` of a file."""

    path: Path
    text: str
    table: Mapping[str, Json]

    def error(self, keys: Sequence[str], message: str, hint: str | None = None) -> TrackError:
        """Something that is wrong at a setting, with its line."""
        line = line_of(self.text, "track", *keys)
        return TrackError(f"{self.path}:{line}: {message}" if line else f"{self.path}: {message}", hint=hint)

    @property
    def names(self) -> list[str] | None:
        """What `to` lists. Raises TrackError."""
        to = self.table.get("to")
        if to is not None and (not isinstance(to, list) or not all(isinstance(name, str) for name in to)):
            raise self.error(["to"], "'to' of [track] is a list of names", 'write to = ["tensorboard"]')
        return to

    def settings(self) -> Chosen:
        """The settings of each tracker that has some here. Raises TrackError."""
        for name in self.names or ():
            if name not in tracker_names():
                raise self.error(["to"], **_unknown(name))
        settings = {name: values for name, values in self.table.items() if name != "to"}
        for name, values in settings.items():
            self._check(name, values)
        return settings

    def _check(self, name: str, values: Json) -> None:
        if name not in tracker_names():
            raise self.error([name], **_unknown(name))
        known = tracker_module(name).SETTINGS
        if not isinstance(values, Mapping):
            raise self.error([name], f"'{name}' of [track] is a table", f"write [track.{name}]")
        for key, value in values.items():
            if key not in known:
                hint = nearest(key, known) or f"it has {', '.join(known) or 'no settings'}"
                raise self.error([name, key], f"nothing reads '{key}' of [track.{name}]", hint)
            if not isinstance(value, str):
                raise self.error([name, key], f"'{key}' of [track.{name}] is a text, got {value!r}")


def chosen_trackers(asked: Sequence[str], folder: Path) -> Chosen:
    """The settings of each tracker that follows a run, from the nearest `etude.toml` with a `[track]`, in `folder` or
    above it.

    What is asked for joins those of the file, TensorBoard where there is none; "none" alone leaves all out. Raises
    TrackError.
    """
    table = _nearest_table(folder.resolve())
    settings = table.settings() if table else {}
    listed = DEFAULT if table is None or table.names is None else table.names
    names = [] if list(asked) == [NOTHING] else [*listed, *asked]
    for name in names:
        if name not in tracker_names():
            raise TrackError(**_unknown(name))
    chosen = {name: settings.get(name, {}) for name in dict.fromkeys(names)}
    for name in chosen:
        _check_installed(name)
    return chosen


def _nearest_table(folder: Path) -> TrackTable | None:
    """The table of the nearest file that has one. Raises TrackError."""
    for path in (each / FILE for each in (folder, *folder.parents)):
        if not path.is_file():
            continue
        import tomllib

        try:
            text = path.read_text(encoding="utf-8")
            table = tomllib.loads(text).get("track")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrackError(f"{path}: {error}") from error
        if table is None:
            continue
        if not isinstance(table, Mapping):
            raise TrackTable(path, text, {}).error([], "'track' is a table", "write [track]")
        return TrackTable(path, text, table)
    return None


def _unknown(name: str) -> dict[str, str]:
    """What is said of a tracker that there is not."""
    known = tracker_names()
    return {
        "message": f"there is no tracker '{name}'",
        "hint": nearest(name, known) or f"there are {', '.join(known)}",
    }


def _check_installed(name: str) -> None:
    needed = tracker_module(name).NEEDS
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise TrackError(f"'{needed}' is not installed, which --track {name} needs", hint=f"pip install {needed}")
