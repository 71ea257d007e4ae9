"""What `etude.toml` says of runs and stores: the tables `[run]` and `[store]`. The command line goes first.

How often to try again, and where results are kept, is a matter of this machine and this project and not of what is
computed: in a recipe it would be part of keys, or would have to be left out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.runtime.cli.faults import UsageError

FILE = "etude.toml"
Accepts = Callable[[Any], bool]
KNOWN: Mapping[str, Mapping[str, tuple[Accepts, str]]] = {
    "run": {
        "retries": (lambda value: type(value) is int and value >= 0, "a number from 0"),
    },
    "store": {
        "remote": (lambda value: isinstance(value, str) and "://" in value, 'a URL, like "s3://bucket/folder"'),
        "verify": (lambda value: value in ("always", "changed"), '"always" or "changed"'),
    },
}


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """The settings of a project, with their defaults."""

    retries: int = 0
    remote: str | None = None
    verify: Any = "always"


def project_settings(*folders: Path) -> ProjectSettings:
    """The settings of the first `etude.toml` in these folders that has each. Raises UsageError."""
    found: dict[str, Any] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        for name, value in _settings_of(folder / FILE):
            found.setdefault(name, value)
    return ProjectSettings(**found)


def _settings_of(path: Path) -> Iterable[tuple[str, Any]]:
    if not path.is_file():
        return
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    for table, known in KNOWN.items():
        settings = data.get(table, {})
        if not isinstance(settings, dict):
            raise _error(path, text, [table], f"'{table}' cannot be {settings!r}", f"it is a table: [{table}]")
        for name, value in settings.items():
            if name not in known:
                hint = f"[{table}] has {', '.join(known)}"
                raise _error(path, text, [table, name], f"nothing reads '{name}' of [{table}]", hint)
            accepts, wants = known[name]
            if not accepts(value):
                raise _error(path, text, [table, name], f"'{name}' of [{table}] cannot be {value!r}", f"it is {wants}")
            yield name, value


def _error(path: Path, text: str, keys: Sequence[str], message: str, hint: str) -> UsageError:
    """Something that is wrong at a setting, with its line."""
    from etude.runtime.targets.places import line_of

    line = line_of(text, *keys)
    return UsageError(f"{path}:{line}: {message}" if line else f"{path}: {message}", hint=hint)
