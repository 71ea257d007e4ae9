"""JAX as a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from etude.backends.base import Array, Columns, Emit, Extras, Held, Ids, InputWeights, Record, Streams, TrainResult
from etude.backends.batches import batch_rows
from etude.backends.emission.programs import least_parts
from etude.backends.emission.stacks import SCAN
from etude.backends.evaluation import appended
from etude.backends.inputs import TrainInputs, empty_outputs, initial_weights, row_counts, row_table
from etude.backends.jax import devices
from etude.backends.jax.emit import emit_rows, emit_train
from etude.backends.jax.places import Places
from etude.backends.jax.rows import prepared_rows, run_pieces
from etude.backends.jax.scanning import scanning
from etude.backends.jax.train import JaxSession
from etude.backends.modules import load_source
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.program.microbatches import parts_of
from etude.backends.randomness import stage_key
from etude.backends.snapshots import Keeper
from etude.backends.training import train_session

Weights = tuple[dict[str, Any], ...]


class JaxBackend:
    """Trains and runs row programs with JAX on one device, or on those of a mesh."""

    name = "jax"

    def __init__(self, device: str, threads: int | None, numerics: Numerics = PORTABLE) -> None:
        self.device, self.numerics = devices.prepare(device, threads), numerics
        self.places = Places.of(self.device, numerics.mesh)

    def warm(self) -> None:
        import flax.nnx  # noqa: F401
        import optax  # noqa: F401

    def release(self) -> None:
        """Drop what only cycles of references hold; JAX keeps the memory of its device for itself."""
        devices.release(self.device)

    def describe(self) -> dict[str, Any]:
        return devices.describe(self.device) | self.numerics.described()

    def memory(self) -> int | None:
        return devices.memory(self.device)

    def source(self, spec: Mapping[str, Any]) -> str:
        return (emit_train(spec, self.numerics) if "steps" in spec else emit_rows(spec, self.numerics)).source

    def pieces(
        self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights
    ) -> Iterator[dict[str, Array]]:
        if not len(ids):
            return iter([empty_outputs(spec["program"])])
        module, weights_at = self._row_models(spec, weights, self.places)
        table, row_bytes = row_table(spec["program"], data)
        return run_pieces(module, weights_at, table, ids, stage_key(spec), row_bytes, self.places)

    def _row_models(self, spec: Mapping[str, Any], weights: InputWeights, places: Places) -> tuple[ModuleType, Weights]:
        """The module of a row program, and the weights of its models, if it has some."""
        emitted = emit_rows(spec, self.numerics)
        module = load_source(emitted.source)
        if not spec["slots"]:
            return module, ()
        initial = initial_weights(spec["slots"], weights)
        return module, (places.weights({path: initial[slot] for slot, path in reversed(emitted.slots)}),)

    def rows(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> dict[str, Array]:
        return appended(list(self.pieces(spec, data, ids, weights)))

    def prepared(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> Callable[[], object]:
        module, weights_at = self._row_models(spec, weights, Places(self.device))  # what is timed is one device
        table, _ = row_table(spec["program"], data)
        return prepared_rows(module, weights_at, table, ids, stage_key(spec), self.device)

    def train(
        self,
        spec: Mapping[str, Any],
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
        extras = extras or Extras()
        emitted = emit_train(spec, self.numerics)
        module = load_source(emitted.source, folder / "step.py")
        self._tell_what_is_not_shared(spec, row_counts(ids)[0], emit)
        session = JaxSession(module, emitted.slots, TrainInputs.of(spec, data, valid, weights), self.places)
        given = (session, spec, ids, data, folder, emit, stop)
        chooser = scanning(session, emitted, self.numerics, folder / "step.py") if SCAN not in extras.without else None
        return train_session(*given, limit=limit, record=record, keeper=keeper, extras=extras, chooser=chooser)

    def _tell_what_is_not_shared(self, spec: Mapping[str, Any], rows: int, emit: Emit) -> None:
        """Warn of a batch that is no multiple of the devices along `data`: each of them computes all of it."""
        batch, parts = batch_rows(spec["batch"], rows), self.places.parts
        size = batch // parts_of(batch, least_parts(spec)) if batch else 0
        if size % parts:
            what = "a batch" if size == batch else "a part of a batch"
            message = f"{what} has {size} rows, no multiple of {parts}: every device along `data` computes all of them"
            emit({"kind": "warning", "message": message})


def make(*, device: str, threads: int | None, numerics: Numerics = PORTABLE) -> JaxBackend:
    """The backend, on a device."""
    return JaxBackend(device, threads, numerics)
