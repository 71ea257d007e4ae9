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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.runtime.targets import FILE
from etude.runtime.tracking import tracker_module, tracker_names

Json = Any
Chosen = dict[str, Mapping[str, Json]]
DEFAULT, NOTHING = ("tensorboard",), "none"


class TrackError(Exception):
    """There is no such tracker, it is not installed, or its settings are wrong."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def chosen_trackers(asked: Sequence[str], folder: Path) -> Chosen:
    """The settings of each tracker that follows a run, from the nearest `etude.toml` with a `[track]`, in `folder` or
    above it.

    What is asked for joins those of the file, TensorBoard where there is none; "none" alone leaves all out. Raises
    TrackError.
    """
    table, place = _read_table(folder.resolve())
    settings = {name: value for name, value in table.items() if name != "to"}
    names = [] if list(asked) == [NOTHING] else [*table.get("to", DEFAULT), *asked]
    _check_names([*names, *settings], place)
    for name, values in settings.items():
        _check_settings(name, values, place)
    chosen = {name: settings.get(name, {}) for name in dict.fromkeys(names)}
    for name in chosen:
        _check_installed(name)
    return chosen


def _read_table(folder: Path) -> tuple[Mapping[str, Json], str]:
    for path in (each / FILE for each in (folder, *folder.parents)):
        if not path.is_file():
            continue
        import tomllib

        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("track")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrackError(f"{path}: {error}") from error
        if table is None:
            continue
        to = table.get("to", [])
        if not isinstance(to, list) or not all(isinstance(name, str) for name in to):
            raise TrackError(f"{path}: 'to' of [track] is a list of names", hint='write to = ["tensorboard"]')
        return table, f"{path}: "
    return {}, ""


def _check_names(names: Iterable[str], place: str) -> None:
    known = tracker_names()
    for name in names:
        if name not in known:
            raise TrackError(f"{place}there is no tracker '{name}'", hint=f"there are {', '.join(known)}")


def _check_settings(name: str, values: Json, place: str) -> None:
    known = tracker_module(name).SETTINGS
    if not isinstance(values, Mapping):
        raise TrackError(f"{place}'{name}' of [track] is a table", hint=f"write [track.{name}]")
    for key, value in values.items():
        if key not in known:
            has = ", ".join(known) or "no settings"
            raise TrackError(f"{place}nothing reads '{key}' of [track.{name}]", hint=f"it has {has}")
        if not isinstance(value, str):
            raise TrackError(f"{place}'{key}' of [track.{name}] is a text, got {value!r}")


def _check_installed(name: str) -> None:
    needed = tracker_module(name).NEEDS
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise TrackError(f"'{needed}' is not installed, which --track {name} needs", hint=f"pip install {needed}")
