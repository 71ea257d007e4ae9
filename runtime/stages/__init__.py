"""How each kind of stage is executed: one module per kind, found by its name, with `execute(job) -> Result`.

Kinds in `INLINE` only combine small JSON values: the runner executes them itself, without a worker process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from etude.backends.meshes import mesh_shape
from etude.backends.numerics import PORTABLE, Numerics, Precision, Random
from etude.runtime.store import Store

if TYPE_CHECKING:
    from etude.backends.base import Array, Backend, ColumnRows
    from etude.runtime.datasets import Dataset

Json = Any
Item = TypeVar("Item")
INLINE = frozenset({"compute", "require", "claim", "table", "plot", "heatmap"})
# Kinds that make do without an input: it came from a stage behind a condition that did not hold.
LENIENT = frozenset({"select", "compute", "claim", "table", "heatmap"})


class StageError(Exception):
    """A stage cannot do what its recipe says with the data that came."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class StageStopped(Exception):
    """The run asked the stage to end; nothing of it is kept."""


class Chosen(TypedDict):
    """What of its settings a run is asked for: all but threads, which it shares out itself, and passes."""

    backend: str
    device: str
    precision: Precision
    random: Random
    compile: bool
    mesh: Mapping[str, int] | None
    by_stage: Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run's stages are executed; of these, backend, precision and `random` enter keys.

    `mesh` has the devices along each axis; `stages` what is otherwise for some stages, by their id; `without` names
    passes to leave out.
    """

    backend: str
    device: str = "cpu"
    precision: Precision = "float32"
    random: Random = "portable"
    compile: bool = False
    mesh: Mapping[str, int] | None = None
    threads: int = 1
    stages: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    without: Sequence[str] = ()

    def of(self, stage: str) -> Settings:
        """The settings of one stage."""
        return replace(self, **self.stages.get(stage, {}), stages={}) if self.stages else self

    @property
    def chosen(self) -> Chosen:
        """These settings as the arguments of a run."""
        return {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "random": self.random,
            "compile": self.compile,
            "mesh": self.mesh,
            "by_stage": self.stages,
        }

    @property
    def numerics(self) -> Numerics:
        """How numbers are computed."""
        return Numerics(precision=self.precision, compile=self.compile, random=self.random, mesh=mesh_shape(self.mesh))

    @property
    def devices(self) -> int:
        """On how many devices a stage computes together; of several with settings of their own the most."""
        meshes = [self.mesh, *(settings.get("mesh") for settings in self.stages.values())]
        return max(shape.size if (shape := mesh_shape(mesh)) else 1 for mesh in meshes)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage to execute. `inputs` are the content hashes of `spec`'s inputs, None for one that was not made as its
    condition did not hold; `folder` is for files of this run; `key` is that of the stage,
    under which it may keep how far it is.

    `emit` is given events of kind "progress" and "warning"; `stop` is asked now and then whether to give up.
    """

    store: Store
    kind: str
    spec: Mapping[str, Json]
    inputs: Sequence[str | None]
    settings: Settings
    base: Path
    folder: Path
    fingerprint: str | None = None
    key: str | None = None
    emit: Callable[[Mapping[str, Json]], None] = lambda event: None
    stop: Callable[[], bool] = lambda: False

    def dataset(self, index: int) -> Dataset:
        """The dataset that is input `index`."""
        from etude.runtime.datasets import Dataset

        return Dataset.open(self.store, self.made(index))

    def weights(self, index: int) -> list[Array]:
        """The weights artifact that is input `index`."""
        from etude.backends.weights import load_weights

        return load_weights(self.store.objects.path(self.made(index)))

    def value(self, index: int) -> Json:
        """The JSON artifact that is input `index`, None where it was not made."""
        hash = self.inputs[index]
        return None if hash is None else self.store.read_json(hash)

    def values(self) -> Values:
        """All inputs as JSON artifacts, each read when it is asked for."""
        return Values(self)

    def backend(self) -> Backend:
        """The chosen backend, imported once per process."""
        settings = self.settings
        return loaded_backend(settings.backend, settings.device, settings.threads, settings.numerics)

    def made(self, index: int) -> str:
        """The content hash of an input that was made."""
        hash = self.inputs[index]
        assert hash is not None, f"input {index} of a {self.kind} was not made"
        return hash

    def until_stopped(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items as long as the stage may go on. Raises `StageStopped`."""
        for item in items:
            if self.stop():
                raise StageStopped
            yield item

    def warn(self, message: str) -> None:
        self.emit({"kind": "warning", "message": message})


class Values(Sequence[Json]):
    """The inputs of a job as JSON values."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __len__(self) -> int:
        return len(self._job.inputs)

    def __getitem__(self, index: Any) -> Json:
        return self._job.value(index)


@dataclass(frozen=True)
class Result:
    """What a stage came to: the hash of each output, all objects they need, and how they were made."""

    outputs: Mapping[str, str]
    objects: set[str] = field(default_factory=set)
    made: Mapping[str, Json] = field(default_factory=dict)
    source: str | None = None

    def all_objects(self) -> set[str]:
        return {*self.objects, *self.outputs.values(), *([self.source] if self.source else [])}


class LazyColumns(Mapping[str, "ColumnRows"]):
    """A dataset's columns as a mapping; rows of a column are read when they are asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitem__(self, name: str) -> ColumnRows:
        return self._dataset.reader(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dataset.columns)

    def __len__(self) -> int:
        return len(self._dataset.columns)


@cache
def loaded_backend(name: str, device: str, threads: int, numerics: Numerics = PORTABLE) -> Backend:
    """A backend of this process. Raises `StageError` when its framework is not installed, or finds no such device."""
    from etude.backends.base import DeviceMissingError, TooFewDevicesError, load

    try:
        return load(name, device=device, threads=threads, numerics=numerics)
    except (DeviceMissingError, TooFewDevicesError) as error:
        raise StageError(str(error), hint="`etude doctor` tells which devices each backend finds here") from error
    except ModuleNotFoundError as error:
        if str(error.name).startswith("etude."):
            raise StageError(f'no backend is called "{name}"') from error
        hint = f'pip install "etude-lang[{name}]"'
        raise StageError(f'the backend "{name}" needs "{error.name}", which is not installed', hint=hint) from error


def execute(job: Job) -> Result:
    """Run a stage of any kind. Raises what its module raises: `StageError`, `SourceError`, `TrainingError`, .."""
    result: Result = importlib.import_module(f"{__name__}.{job.kind}").execute(job)
    return result


def presented(kind: str, spec: Mapping[str, Json], value: Json) -> Json:
    """A stored JSON output with the names that this recipe gives to its parts."""
    if kind not in INLINE:
        return value
    module = importlib.import_module(f"{__name__}.{kind}")
    return module.presented(spec, value) if hasattr(module, "presented") else value


def data_result(dataset: Dataset, port: str = "data", **made: Json) -> Result:
    """The result of a stage with one dataset as its output."""
    return Result({port: dataset.save()}, dataset.objects(), made)
