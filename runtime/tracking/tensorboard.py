"""TensorBoard: event files below `tensorboard/` in the run's folder, one folder per stage, the run itself beside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etude.runtime.tracking import Subject, outcome_numbers, records

Json = Any
NEEDS = None  # the files are written here; looking at them takes the package `tensorboard`
SETTINGS: Mapping[str, str] = {}
FOLDER = "tensorboard"


def open_tracker(subject: Subject, settings: Mapping[str, str]) -> TensorBoard:
    """Write the recipe and the params; the numbers follow."""
    return TensorBoard(subject)


class TensorBoard:
    """Writes each event and closes the file again: a sweep has more stages than a process may have files open."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.folder = subject, subject.folder / FOLDER
        self._begun: set[Path] = set()
        now = time.time()
        fenced = f"```\n{subject.text.replace('```', '` ` `')}\n```"
        params = {**subject.facts, **subject.params}
        values = [records.text("recipe", fenced), records.session_start(params, now)]
        self._write(self.folder, now, 0, values)

    def numbers(self, stage: str, step: int, values: Mapping[str, float], time: float) -> None:
        scalars = [records.scalar(tag(name), value) for name, value in values.items()]
        self._write(self._stage_folder(stage), time, step, scalars)

    def picture(self, stage: str, name: str, png: bytes, time: float) -> None:
        self._write(self._stage_folder(stage), time, 0, [records.image(name, png)])

    def close(self, outcome: Mapping[str, Json] | None) -> None:
        now = time.time()
        values = [records.scalar(f"metrics/{name}", value) for name, value in outcome_numbers(outcome or {}).items()]
        status = records.SUCCESS if outcome and not outcome.get("failed") else records.FAILURE
        self._write(self.folder, now, 0, [*values, records.session_end(status, now)])

    def _stage_folder(self, stage: str) -> Path:
        return self.folder / self.subject.stages[stage]

    def _write(self, folder: Path, time: float, step: int, values: list[bytes]) -> None:
        data = records.record(records.event(time, step, values))
        if folder not in self._begun:
            folder.mkdir(parents=True, exist_ok=True)
            data = records.record(records.first_event(time)) + data
            self._begun.add(folder)
        with (folder / "events.out.tfevents.etude").open("ab") as file:
            file.write(data)


def tag(name: str) -> str:
    """A name of a history in a group of its own.

    >>> tag("valid.loss"), tag("loss"), tag("critic.loss"), tag("live.loss")
    ('valid/loss', 'train/loss', 'train/critic.loss', 'live/loss')
    """
    group, _, rest = name.partition(".")
    return f"{group}/{rest}" if rest and group in ("valid", "live", "speed") else f"train/{name}"
