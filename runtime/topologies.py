"""Training steps compiled ahead of time for TPUs: in a process of its own, once for each program and topology.

libtpu compiles without a TPU. It is found where Python finds packages, else in the folder that ETUDE_LIBTPU names, else
in `libtpu` beside Python: beside jax it would make every process that uses jax look for TPUs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.compiler.keys import canonical_json, key_parts
from etude.compiler.workflow import Stage
from etude.runtime.devices import TPUS

if TYPE_CHECKING:
    from etude.backends.numerics import Precision
    from etude.runtime.stages import Settings

Json = Any
SECONDS = 900  # for all steps of a plan together; a large one takes a minute
WORKER = "etude.backends.jax.ahead_of_time"
VARIABLE = "ETUDE_LIBTPU"
# Without these libtpu asks the network what machine this is, tells at length that it got no answer, writes logs to the
# shared temporary folder, and lets only one process at a time load it, as if there were a TPU to hold.
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_LOG_DIR": "disabled",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "JAX_PLATFORMS": "cpu",
}


class LibtpuMissingError(Exception):
    """Compiling for TPUs needs packages that are not installed."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"compiling for TPUs needs {missing}, which is not installed")
        self.hint = 'pip install "etude-lang[tpu]" (Linux on x86-64); the plan without it: --target tpu'


@dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """What a chip needs for a step of a training.

    `bytes` are those of code, state, columns and what is computed, `limit` what a chip has; `flops` and `moved` (bytes)
    are a chip's in a step; `shared` whether the batch could be shared out, `model` over how many chips weights are;
    `failure` says why nothing is known.
    """

    topology: str
    limit: int
    chips: int = 0
    batch: int = 0
    bytes: int = 0
    flops: int = 0
    moved: int = 0
    fits: bool = True
    shared: bool = True
    model: int = 1
    collectives: tuple[tuple[str, int], ...] = ()
    failure: str | None = None

    @property
    def rows(self) -> int:
        """The rows of a batch that a chip computes."""
        return self.batch // (self.chips // self.model) if self.shared else self.batch

    def seconds(self, precision: Precision) -> float:
        """The least time of a step on the chip: computing or moving, whichever takes longer."""
        chip = TPUS[self.topology.partition(":")[0]]
        return max(self.flops / chip.flops_per_second(precision), self.moved / chip.bandwidth)


@dataclass(frozen=True)
class Wanted:
    """A training to compile: the digest of all that decides, and the job for the worker."""

    digest: str
    job: Mapping[str, Json]


def libtpu_folder() -> Path | None:
    """The folder to add to the path for libtpu, None where Python finds it. Raises LibtpuMissingError."""
    if importlib.util.find_spec("jax") is None:
        raise LibtpuMissingError("jax")
    if importlib.util.find_spec("libtpu") is not None:
        return None
    folder = Path(os.environ.get(VARIABLE) or Path(sys.prefix) / "libtpu")
    if not (folder / "libtpu").is_dir():
        raise LibtpuMissingError("libtpu")
    return folder


def compile_steps(
    stages: Iterable[Stage], rows: Mapping[str, int | None], settings: Settings, topology: str
) -> dict[str, CompiledStep]:
    """What each training among `stages` needs on a topology; `rows` are of what it trains on, by its id.

    Raises LibtpuMissingError.
    """
    folder = libtpu_folder()
    memory = TPUS[topology.partition(":")[0]].memory
    versions = _versions(folder)
    wanted = {
        stage.id: _wanted(stage, rows.get(stage.id), settings.of(stage.id), topology, memory, versions)
        for stage in stages
        if stage.kind == "train"
    }
    answers = dict(_remembered(wanted.values()))
    todo = {each.digest: each.job for each in wanted.values() if each.digest not in answers}
    for digest, answer in _compiled(list(todo.items()), folder):
        answers[digest] = answer
        if "error" not in answer:
            _remember(digest, answer)
    return {id: _result(answers.get(each.digest), topology, memory) for id, each in wanted.items()}


def _wanted(stage: Stage, rows: int | None, settings: Settings, topology: str, memory: int, versions: Json) -> Wanted:
    numerics = {"precision": settings.precision, "random": settings.random}
    does = key_parts(stage, [], settings.backend, settings.numerics.text)["program"]
    shapes = [[slot["shape"], slot["dtype"]] for slot in stage.spec["slots"]]
    whole = [does["steps"], shapes, does["batch"], rows, numerics, topology, memory, versions]
    rest = [does.get(name) for name in ("ema", "state", "clip")]
    mesh = [] if settings.mesh is None else [settings.mesh]
    digest = hashlib.sha256(canonical_json([whole, rest, *mesh])).hexdigest()
    job = {"spec": stage.spec, "rows": rows, "memory": memory, "numerics": numerics, "topology": topology}
    job |= {"mesh": settings.mesh}
    return Wanted(digest, {**job, "job": digest})


def _versions(folder: Path | None) -> list[str]:
    """The versions of all that has a say in the code for a chip."""
    from etude import __version__

    path = [] if folder is None else [str(folder)]
    found = next(iter(importlib.metadata.distributions(name="libtpu", path=[*path, *sys.path])), None)
    return [__version__, importlib.metadata.version("jax"), found.version if found else "unknown"]


def _compiled(jobs: list[tuple[str, Json]], folder: Path | None) -> Iterator[tuple[str, Json]]:
    """The answers of a worker process, as far as it comes within the time."""
    if not jobs:
        return
    environment = {**os.environ, **ENVIRONMENT}
    if folder is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)]))
    lines = "".join(f"{json.dumps(job)}\n" for _, job in jobs)
    command = [sys.executable, "-P", "-m", WORKER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, text=True) as process:
        try:
            out, err = process.communicate(lines, timeout=SECONDS)
            reason = (err.strip().splitlines() or ["the compiler ended without a word"])[-1]
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            reason = f"not compiled within {SECONDS} s"
    answers = {answer.pop("job"): answer for line in out.splitlines() if (answer := json.loads(line))}
    yield from ((digest, answers.get(digest, {"error": reason})) for digest, _ in jobs)


def _result(answer: Json, topology: str, memory: int) -> CompiledStep:
    if "error" in answer:
        return CompiledStep(topology=topology, limit=memory, failure=answer["error"])
    collectives = tuple(answer.get("collectives", {}).items())
    return CompiledStep(topology=topology, **{"limit": memory, **answer, "collectives": collectives})


def remembered_folder() -> Path:
    """Where the user's own copies of answers lie: the same program compiles to the same."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "etude" / "tpu"


def _remembered(wanted: Iterable[Wanted]) -> Iterator[tuple[str, Json]]:
    for each in wanted:
        try:
            yield each.digest, json.loads((remembered_folder() / f"{each.digest}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def _remember(digest: str, answer: Json) -> None:
    """Keep an answer; without a folder to write to, each plan compiles."""
    import contextlib

    from etude.runtime.store import StoreError
    from etude.runtime.store.files import replace_file

    folder = remembered_folder()
    with contextlib.suppress(OSError, StoreError):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / f"{digest}.json", json.dumps(answer).encode(), folder)
