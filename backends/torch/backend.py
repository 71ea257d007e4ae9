"""PyTorch as a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from etude.backends.base import Array, Columns, Emit, Extras, Held, Ids, InputWeights, Record, Streams, TrainResult
from etude.backends.evaluation import appended
from etude.backends.inputs import TrainInputs, empty_outputs, initial_weights, row_table
from etude.backends.modules import load_source
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.snapshots import Keeper
from etude.backends.torch import devices
from etude.backends.torch.compiling import compile_losses
from etude.backends.torch.emit import emit_rows, emit_train
from etude.backends.torch.rows import load_models, prepared_rows, run_rows
from etude.backends.torch.train import TorchSession
from etude.backends.training import train_session


class TorchBackend:
    """Trains and runs row programs with PyTorch on one device."""

    name = "torch"

    def __init__(self, device: str, threads: int | None, numerics: Numerics = PORTABLE) -> None:
        self.device, self.numerics = devices.prepare(device, threads), numerics

    def warm(self) -> None:
        import torch._dynamo  # noqa: F401  # as every optimizer does when it is made

    def release(self) -> None:
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
        module, models = self._row_models(spec, weights)
        table, row_bytes = row_table(spec["program"], data)
        return run_rows(module, models, spec, table, ids, row_bytes, self.device)

    def _row_models(self, spec: Mapping[str, Any], weights: InputWeights) -> tuple[ModuleType, Any]:
        """The module of a row program, and its models with their weights."""
        emitted = emit_rows(spec, self.numerics)
        module = load_source(emitted.source)
        if not spec["slots"]:
            return module, None
        return module, load_models(module, emitted.slots, initial_weights(spec["slots"], weights), self.device)

    def rows(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> dict[str, Array]:
        return appended(list(self.pieces(spec, data, ids, weights)))

    def prepared(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> Callable[[], object]:
        module, models = self._row_models(spec, weights)
        table, _ = row_table(spec["program"], data)
        return prepared_rows(module, models, spec, table, ids, self.device)

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
        emitted = emit_train(spec, self.numerics)
        module = load_source(emitted.source, folder / "step.py")
        if self.numerics.compile:
            compile_losses(module)
        session = TorchSession(module, emitted.slots, TrainInputs.of(spec, data, valid, weights), self.device)
        given = (session, spec, ids, data, folder, emit, stop)
        return train_session(*given, limit=limit, record=record, keeper=keeper, extras=extras)


def make(*, device: str, threads: int | None, numerics: Numerics = PORTABLE) -> TorchBackend:
    """The backend, on a device."""
    return TorchBackend(device, threads, numerics)
