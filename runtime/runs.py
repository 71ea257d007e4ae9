"""The folders of runs: what each was, what came of it, and how to find one again."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import secrets
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from etude.runtime.jsontext import json_text
from etude.runtime.store import Store
from etude.runtime.store.files import make_folder, replace_file
from etude.runtime.store.holders import holder_is_gone, this_process

if TYPE_CHECKING:
    from etude.runtime.planning import PlannedStage

Json = Any
Status: TypeAlias = Literal["finished", "failed", "interrupted", "running"]


class RunError(Exception):
    """No run is called so, or several are; `known` are the ids that are meant, or all."""

    def __init__(self, wanted: str, known: Iterable[str], *, several: bool = False) -> None:
        self.wanted, self.known = wanted, tuple(known)
        latest = ", ".join(reversed(self.known[-3:]))
        if several:
            super().__init__(f'{len(self.known)} runs have ids that start with "{wanted}"')
            self.hint = f"write more of the id; the latest are {latest}"
        elif self.known:
            super().__init__(f'no run is called "{wanted}"')
            self.hint = f"the latest are {latest}; `etude runs` lists them"
        else:
            super().__init__("there are no runs here")
            self.hint = "`etude run FILE` makes one; --store names another folder of results"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder. `manifest` is what `run.json` says, None for a run that never came to its end."""

    id: str
    folder: Path
    status: Status
    manifest: Mapping[str, Json] | None

    @property
    def recipe(self) -> str | None:
        """The file of the recipe, from the plan where the run is under way or was broken off."""
        if self.manifest is not None:
            return self.manifest.get("recipe")
        try:
            found: str | None = json.loads((self.folder / "plan.json").read_bytes()).get("recipe")
        except (OSError, ValueError):
            return None
        return found


def create_folder(store: Store) -> Path:
    """A new folder, named by the time and a few random letters, that says who is at work in it.

    Names sort by time, also those of runs that start within the same second.
    """
    now = datetime.datetime.now()
    folder = store.runs / f"{now:%Y%m%d-%H%M%S}.{now.microsecond:06d}-{secrets.token_hex(2)}"
    make_folder(folder)
    replace_file(folder / "running.json", json.dumps(this_process()).encode(), store.scratch)
    return folder


def finish(store: Store, folder: Path, manifest: Mapping[str, Json]) -> None:
    """Write `run.json`, whole or not at all: the run has come to its end."""
    replace_file(folder / "run.json", json_text(manifest).encode(), store.scratch)
    abandon(folder)


def abandon(folder: Path) -> None:
    """Say that nobody is at work in a run's folder any more; without `run.json` it counts as interrupted."""
    with contextlib.suppress(OSError):  # a disk that became read-only: the holder is gone in a moment anyway
        (folder / "running.json").unlink(missing_ok=True)


def break_off(folder: Path, error: BaseException) -> None:
    """Leave word in a run's folder that it did not come to its end, and why, as far as the disk allows."""
    abandon(folder)
    if isinstance(error, Exception):
        with contextlib.suppress(OSError):
            (folder / "error.txt").write_text("".join(traceback.format_exception(error)))


def keep_error(folder: Path, text: str) -> Path:
    """Write down what went wrong with a stage, as far as the disk allows: it may be what went wrong."""
    path = folder / "error.txt"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def remove_if_empty(folder: Path) -> None:
    """Leave no folder behind for a stage that went well; its source is kept elsewhere."""
    if folder.is_dir():
        (folder / "step.py").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def write_plan(store: Store, folder: Path, recipe: str, planned: Iterable[PlannedStage]) -> None:
    """Keep what was going to happen with which recipe, for those who ask later why."""
    stages = [
        {
            "id": each.stage.id,
            "name": each.stage.name,
            "kind": each.stage.kind,
            "action": each.action,
            "reason": each.reason,
            "key": each.key,
            "inputs": [ref.stage for ref in each.stage.inputs],
        }
        for each in planned
    ]
    replace_file(folder / "plan.json", json_text({"recipe": recipe, "stages": stages}).encode(), store.scratch)


def list_runs(store: Store) -> list[Run]:
    """All runs, the latest first."""
    return [read_run(folder) for folder in sorted(store.runs.iterdir(), reverse=True) if folder.is_dir()]


def find_run(store: Store, wanted: str = "last") -> Run:
    """The run of an id, of the start of one, or the last. Raises `RunError` when none or several are meant."""
    names = sorted(os.listdir(store.runs))
    found = names[-1:] if wanted == "last" else [name for name in names if wanted and name.startswith(wanted)]
    if wanted in found:
        found = [wanted]
    if len(found) != 1:
        raise RunError(wanted, found or names, several=len(found) > 1)
    return read_run(store.runs / found[0])


def read_run(folder: Path) -> Run:
    """A run from its folder; one whose manifest is damaged counts as one that never came to its end."""
    try:
        manifest = json.loads((folder / "run.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return Run(folder.name, folder, "running" if _is_alive(folder) else "interrupted", None)
    return Run(folder.name, folder, "failed" if manifest.get("failed") else "finished", manifest)


def _is_alive(folder: Path) -> bool:
    try:
        holder = json.loads((folder / "running.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return not holder_is_gone(holder)


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for each stage name, no two equal.

    >>> file_names(["trials[seed=1].big", "a/b", "a b"])
    {'trials[seed=1].big': 'trials[seed=1].big', 'a/b': 'a_b', 'a b': 'a_b.2'}
    """
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w.,=\[\]+-]", "_", name)[:120] or "_"
        safe, number = plain, 1
        while safe.lower() in taken or safe.startswith("."):
            number += 1
            safe = f"{plain.lstrip('.')}.{number}"
        taken.add(safe.lower())
        result[name] = safe
    return result
