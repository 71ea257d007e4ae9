"""A training run on PyTorch: the emitted step over data that stays on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from etude.backends.base import Array
from etude.backends.batches import Index, by_stream, first_rows, of_stream, ordered_batches
from etude.backends.evaluation import row_average, weighted_average
from etude.backends.feeding import Batch, Buffers, Table, read_batches
from etude.backends.inputs import TrainInputs
from etude.backends.numpy.random import fold
from etude.backends.randomness import initial_key, stage_key
from etude.backends.timetable import Clock
from etude.backends.torch.checkpoint import optimizer_arrays, restore_optimizers
from etude.backends.torch.devices import resident_bytes
from etude.backends.torch.rows import buffers, joined, load_models, resident, row_bits, weight_at

Terms = dict[str, float]


class TorchSession:
    """The `Session` of the training loop on PyTorch."""

    def __init__(
        self, module: ModuleType, slots: list[tuple[int, str]], inputs: TrainInputs, device: torch.device
    ) -> None:
        self.module, self.inputs, self.device = module, inputs, device
        self.models = load_models(module, slots, inputs.weights, device)
        changing = {*inputs.changing_slots(), *inputs.following_slots()}
        self.paths = dict(reversed(slots))
        self.tensors = {slot: weight_at(self.models, path) for slot, path in reversed(slots) if slot in changing}
        self.source, self.data = self._placed(inputs.data, resident_bytes(device))
        self.optimizer = module.optimizers(self.models)
        self.carried = self._initial_state()
        self.clock: dict[str, Tensor] = {}
        self._losses: list[dict[str, Tensor]] = []
        if inputs.valid is not None:
            held_out, ids = inputs.valid
            self.valid_source, self.valid = self._placed(held_out, resident_bytes(device))
            self.valid_rows = by_stream(lambda rows: row_bits(rows, device), ids)

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        return self.optimizer if isinstance(self.optimizer, tuple) else (self.optimizer,)

    @property
    def buffers(self) -> Buffers:
        return buffers(self.device)

    @property
    def chunks(self) -> None:
        """Always a step at a time."""

    def step(self, index: Index | Batch, key: int, rates: Sequence[float | None], clock: Clock) -> None:
        if self.inputs.reads_clock:
            self.clock = self._clock(clock)
        batch = self._gather(self.data, index) | self.clock
        lr = tuple(rates) if len(rates) > 1 else rates[0]
        if self.carried:
            terms, self.carried = self.module.step(self.models, self.optimizer, batch, self.carried, key, lr)
        else:
            terms = self.module.step(self.models, self.optimizer, batch, key, lr)
        self._losses.append(terms)

    def losses(self) -> list[Terms]:
        terms, self._losses = read_terms(self._losses), []
        return terms

    @torch.inference_mode()
    def evaluate(self, key: int) -> Terms:
        counts, terms, scores = [], [], []
        rows = by_stream(len, self.valid_rows)
        batches = ordered_batches(rows, self.inputs.spec["batch"])
        for i, (count, index) in enumerate(read_batches(batches, self.valid_source, self.buffers)):
            batch = self._gather(self.valid, index)
            counts.append(count)
            held = {f"@held.{name}": value for name, value in self.carried.items()}
            terms.append(self.module.evaluate(self.models, batch | self.clock | held, fold(key, i)))
            if self.inputs.spec["valid"].get("scores"):
                part = slice(i * counts[0], i * counts[0] + count)
                scores.append(self.module.scores(self.models, batch, first_rows(self.valid_rows)[part], key))
        return weighted_average(counts, read_terms(terms)) | row_average(joined(scores))

    def weights(self) -> list[Array]:
        return self.inputs.changed(
            {slot: tensor.detach().cpu().numpy().copy() for slot, tensor in self.tensors.items()}
        )

    def state(self) -> dict[str, Array]:
        arrays = {f"weights.{slot}": tensor.detach().cpu().numpy().copy() for slot, tensor in self.tensors.items()}
        arrays |= {f"state.{name}": value.cpu().numpy().copy() for name, value in self.carried.items()}
        return arrays | optimizer_arrays(self.optimizers)

    def restore(self, state: Mapping[str, Array]) -> None:
        with torch.no_grad():
            for slot, tensor in self.tensors.items():
                tensor.copy_(torch.from_numpy(state[f"weights.{slot}"]))
        self.carried = {name: torch.tensor(state[f"state.{name}"], device=self.device) for name in self.carried}
        restore_optimizers(self.optimizers, state)

    def layout(self) -> list[str]:
        names = {id(tensor): f"{slot} {self.paths[slot]}" for slot, tensor in self.tensors.items()}
        learning = [
            f"{names[id(weight)]} learned by {type(optimizer).__name__}"
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for weight in group["params"]
        ]
        return [*names.values(), *self.inputs.state_dtypes(), *learning]

    def _placed(self, table: Table, limit: int) -> tuple[Table | None, dict[str, Tensor]]:
        """The table that batches are read from, or all of it on the device where it is below the limit."""
        return (None, resident(table, self.device)) if table.bytes() <= limit else (table, {})

    def _gather(self, data: Mapping[str, Tensor], index: Index | Batch) -> dict[str, Tensor]:
        if isinstance(index, Batch):
            return {name: rows.to(self.device, non_blocking=True) for name, rows in index.columns.items()}
        rows = by_stream(lambda rows: torch.from_numpy(rows).to(self.device, non_blocking=True), index)
        return {name: column.index_select(0, of_stream(rows, name)) for name, column in data.items()}

    def _clock(self, clock: Clock) -> dict[str, Tensor]:
        """Numbers as tensors, which are filled on the device: nothing waits for it."""
        step = torch.full((), clock.step, dtype=torch.int32, device=self.device)
        return {"@step": step, "@progress": torch.full((), clock.progress, device=self.device)}

    def _initial_state(self) -> dict[str, Tensor]:
        dtypes = self.inputs.state_dtypes()
        if not dtypes:
            return {}
        values = self.module.initial_state(initial_key(stage_key(self.inputs.spec))) | self.inputs.given_state()
        return {
            name: torch.as_tensor(values[name], dtype=getattr(torch, dtype), device=self.device)
            for name, dtype in dtypes.items()
        }


def read_terms(terms: Sequence[Mapping[str, Tensor]]) -> list[Terms]:
    """Scalars on the device as numbers, in one transfer."""
    tensors = [value for values in terms for value in values.values()]
    if not tensors:
        return []
    numbers = iter(np.asarray(torch.stack(tensors).cpu()).tolist())
    return [dict(zip(values, islice(numbers, len(values)), strict=True)) for values in terms]
