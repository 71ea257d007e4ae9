"""What the runtime asks of a backend, and how one is found by name. Importing this imports no framework."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from etude.backends.numerics import PORTABLE, Numerics

if TYPE_CHECKING:
    from etude.backends.snapshots import Keeper, Snapshot

Json = Any
Array = NDArray[Any]


class ColumnRows(Protocol):
    """A column, [rows, ...]: an array, or one in a file of which rows are read as they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, positions: Any, /) -> Any:
        """The rows at these positions, as an array."""
        ...

    def __array__(self) -> Array:
        """All rows."""
        ...


Columns = Mapping[str, ColumnRows]
Ids = NDArray[np.uint64]
Rows = tuple[Columns, Ids]
"""A dataset: columns by name, each [rows, ...], and the identity of every row."""
Streams = Mapping[str, Ids]
"""The identities of the rows of several data sets by name; their columns are named "<stream>.<column>"."""
Held = tuple[Columns, Ids | Streams]
"""A dataset, or several."""
InputWeights = Mapping[int, Sequence[Array]]
"""The loaded weights of each input of a stage that is a weights artifact, by the input's index."""
Emit = Callable[[Mapping[str, Json]], None]
Record = Literal["epoch", "step"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of all slots after `step` steps."""

    step: int
    epoch: float
    weights: list[Array]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a train stage comes to. `weights[i]` belongs to slot i of the spec, as its `keep` says.

    `history` has one row per epoch and per validation: `step` and `epoch` done, mean losses since the row before,
    `lr`, and `valid.*` where it was measured. `kept` is the step whose weights these are; `checkpoints` are the weights
    at each of the spec's `checkpoints`; `at_once` is how many steps the framework was given at a time; `continued` has
    the steps at which a killed or interrupted training was taken up; `end` is what another training can go on from, if
    it was asked for. `rewrites` has, by its name, each rewrite that could change bits: whether it `is_used`, and why.
    """

    weights: list[Array]
    history: list[dict[str, Json]]
    steps: int
    seconds: float
    kept: int
    at_once: int = 1
    rewrites: Mapping[str, Json] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    continued: list[int] = field(default_factory=list)
    end: Snapshot | None = None


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a training is given beside its stage: the end of another one to go on from, and probes of the weights of all
    slots, which give columns of the history. `keeps_end` asks for its own end, `without` for no rewrite of these names.
    """

    start: Snapshot | None = None
    watch: Callable[[list[Array]], Mapping[str, Json]] | None = None
    keeps_end: bool = False
    without: Collection[str] = ()


class TrainingError(Exception):
    """A loss or a weight is no longer a finite number. Steps count from 1; `checkpoint` holds the weights after
    `last_good_step`, all slots by ordinal; `term` is the loss term at fault, or "weights"."""

    def __init__(self, *, step: int, term: str, loss: float | None, last_good_step: int, checkpoint: Path) -> None:
        what = "a weight" if term == "weights" else f"the loss {term!r}" if term != "loss" else "the loss"
        value = "not finite" if loss is None else str(loss)
        super().__init__(f"{what} is {value} at step {step}; the weights after step {last_good_step} are kept")
        self.step, self.term, self.loss = step, term, loss
        self.last_good_step, self.checkpoint = last_good_step, checkpoint


class TrainingStopped(Exception):
    """The caller asked for a stop; `step` of `steps` steps were done."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"stopped after step {step} of {steps}")
        self.step, self.steps = step, steps


class DeviceMissingError(Exception):
    """The framework finds no such device here, or cannot use it."""

    def __init__(self, backend: str, device: str, reason: str) -> None:
        super().__init__(f"{backend} finds no device '{device}': {reason}")
        self.backend, self.device, self.reason = backend, device, reason


class TooFewDevicesError(Exception):
    """A mesh takes more devices than the framework finds here."""

    def __init__(self, backend: str, device: str, wanted: int, there: int) -> None:
        super().__init__(f"the mesh takes {wanted} devices, and {backend} finds {there} of kind '{device}'")
        self.backend, self.device, self.wanted, self.there = backend, device, wanted, there


class RowBackend(Protocol):
    """A framework that runs row programs."""

    name: str

    def warm(self) -> None:
        """Import what stages will need of the framework, so that the first finds it there."""
        ...

    def release(self) -> None:
        """Give back the memory of the device that stages have let go of: other processes share it."""
        ...

    def describe(self) -> dict[str, Json]:
        """Versions of the framework, the device and the threads: what a run's record says about its backend."""
        ...

    def source(self, spec: Mapping[str, Json]) -> str:
        """The Python source that a stage's tensor programs become."""
        ...

    def pieces(
        self, spec: Mapping[str, Json], data: Columns, ids: Ids, weights: InputWeights
    ) -> Iterator[dict[str, Array]]:
        """Run a row program (map, measure, filter, top) over all rows: each output by name, a few MiB of rows a piece.

        There is at least one piece."""
        ...

    def rows(self, spec: Mapping[str, Json], data: Columns, ids: Ids, weights: InputWeights) -> dict[str, Array]:
        """What `pieces` gives as one array [rows, ...] for each output."""
        ...

    def prepared(
        self, spec: Mapping[str, Json], data: Columns, ids: Ids, weights: InputWeights
    ) -> Callable[[], object]:
        """A call of a row program on all these rows at once, which are on the device, that returns when it is done."""
        ...


class Backend(RowBackend, Protocol):
    """A framework that trains, too."""

    def memory(self) -> int | None:
        """Bytes of memory of the device; None for that of the host."""
        ...

    def train(
        self,
        spec: Mapping[str, Json],
        data: Columns,
        ids: Ids | Streams,
        valid: Held | None,
        weights: InputWeights,
        folder: Path,
        emit: Emit,
        stop: Callable[[], bool],
        *,
        limit: int | None = None,
        record: Record = "epoch",
        keeper: Keeper | None = None,
        extras: Extras | None = None,
    ) -> TrainResult:
        """Run a train stage.

        `folder` receives the source (`step.py`) and what is kept of a failure. `emit` is given events of kind
        "progress"; `stop` is asked before every step. `limit` ends the run after so many steps of an otherwise
        unchanged one; `record` "step" makes `history` a row per step. `keeper` is where it goes
        on from, and keeps how far it is. Raises `TrainingError`, `TrainingStopped`.
        """
        ...


def load(name: str, *, device: str = "auto", threads: int | None = None, numerics: Numerics = PORTABLE) -> Backend:
    """The backend called `name` ("torch", "jax"; "numpy" has no `train`), imported now.

    `device` is "cpu", "cuda" or "auto"; `threads` caps the processor threads of this process, which is only possible
    before the framework first computes.
    """
    module = importlib.import_module(f"etude.backends.{name}.backend")
    return cast(Backend, module.make(device=device, threads=threads, numerics=numerics))
