"""`external`: a program in a folder of its own; its outputs must be what the recipe declares."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from etude.compiler.structure import digest
from etude.runtime.arrays import Array
from etude.runtime.datasets import Dataset
from etude.runtime.reading.declared import declared_rows
from etude.runtime.rows import column_schema
from etude.runtime.stages import Job, Result, StageError, StageStopped

Json = Any
PIECE = 1024
PATIENCE = 5.0  # seconds that a program has to end when it is told to


def execute(job: Job) -> Result:
    """Write the inputs, run the program, read the outputs. Raises `StageError`, `StageStopped`."""
    folder = job.folder / "external"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "inputs").mkdir(parents=True)
    (folder / "outputs").mkdir()
    for index, (name, kind) in enumerate(job.spec["takes"]):
        if kind == "data":
            write_rows(folder / "inputs" / f"{name}.jsonl", job.dataset(index))
        else:
            (folder / "inputs" / f"{name}.json").write_text(json.dumps(job.value(index)))
    for file, known in job.spec["files"].items():
        _copy(job.base / file, folder / file, known)
    run_program(job, folder)
    outputs: dict[str, str] = {}
    objects: set[str] = set()
    rows = {}
    for name, columns in job.spec["outputs"].items():
        if columns is None:
            outputs[name] = job.store.objects.put_json(_number(folder / "outputs" / f"{name}.json", name))
            continue
        schemas = [column_schema(*column) for column in columns]
        data = declared_rows(_made(folder / "outputs" / f"{name}.jsonl"), schemas)
        made = Dataset.create(job.store, schemas, data)
        outputs[name], rows[name] = made.save(), made.rows
        objects |= made.objects()
    return Result(outputs, objects, {"rows": rows, "opaque": True})


def write_rows(path: Path, dataset: Dataset) -> None:
    """The rows of a dataset as JSON lines: tensors as lists, labels as their numbers."""
    readers = {name: dataset.reader(name) for name in dataset.columns}
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, dataset.rows, PIECE):
            part = slice(start, min(start + PIECE, dataset.rows))
            columns = {name: _plain(reader[part]) for name, reader in readers.items()}
            for values in zip(*columns.values(), strict=True):
                file.write(json.dumps(dict(zip(columns, values, strict=True))) + "\n")


def _plain(values: Array) -> list[Json]:
    found: list[Json] = np.asarray(values).tolist()
    return found


def _copy(source: Path, place: Path, known: str) -> None:
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise StageError(f"cannot read {source}: {error.strerror}") from error
    if digest(text) != known:
        raise StageError(f"{source} changed since the recipe was compiled", hint="run again")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def run_program(job: Job, folder: Path) -> None:
    """Run the command to its end; nothing of it is left behind. Raises `StageError`, `StageStopped`."""
    words = job.spec["cmd"]
    environment = {**os.environ, "ETUDE_SEED": str(job.spec["seed"])}
    with (folder / "stdout.txt").open("wb") as out, (folder / "stderr.txt").open("wb") as err:
        try:
            process = subprocess.Popen(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise StageError(f"cannot run '{words[0]}': {error.strerror}") from error
        try:
            _wait(job, process)
        finally:
            _end(process)
    if process.returncode:
        last = next(iter(_last_lines(folder / "stderr.txt")), "it said nothing")
        text = f"'{' '.join(words)}' ended with status {process.returncode}: {last}"
        raise StageError(text, hint=f"what it wrote lies in {folder}")


def _wait(job: Job, process: subprocess.Popen[bytes]) -> None:
    limit = job.spec["timeout"]
    started = time.monotonic()
    while process.poll() is None:
        if job.stop():
            raise StageStopped
        if limit is not None and time.monotonic() - started > limit:
            raise StageError(f"'{' '.join(job.spec['cmd'])}' was not done after {limit:g} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program, and whatever it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
            return


def _last_lines(path: Path) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    yield from (line.strip()[:300] for line in reversed(lines) if line.strip())


def _made(path: Path) -> Path:
    if not path.is_file():
        raise StageError(f"the program made no outputs/{path.name}", hint=f"its folder is {path.parent.parent}")
    return path


def _number(path: Path, name: str) -> float:
    try:
        value = json.loads(_made(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise StageError(f"outputs/{path.name} is no JSON: {error}") from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StageError(f"outputs/{path.name}: expected one number, got {type(value).__name__}")
    return value
