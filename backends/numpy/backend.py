"""NumPy as a backend: row programs that use no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from etude.backends.base import Array, Columns, Ids, InputWeights
from etude.backends.batches import row_keys
from etude.backends.evaluation import appended
from etude.backends.inputs import empty_outputs, row_table
from etude.backends.modules import load_source
from etude.backends.numerics import PORTABLE, Numerics
from etude.backends.numpy.emit import emit_program, emit_rows
from etude.backends.numpy.rows import run_rows
from etude.backends.randomness import stage_key


class NumpyBackend:
    """Runs row programs on the host; it does not train."""

    name = "numpy"

    def warm(self) -> None:
        pass

    def release(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"backend": "numpy", "versions": {"numpy": np.__version__}, "device": "cpu", "device_name": "cpu"}

    def source(self, spec: Mapping[str, Any]) -> str:
        return emit_rows(spec).source

    def pieces(
        self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights
    ) -> Iterator[dict[str, Array]]:
        assert not spec["slots"], "numpy runs programs without weights"
        if not len(ids):
            return iter([empty_outputs(spec["program"])])
        table, row_bytes = row_table(spec["program"], data)
        return run_rows(load_source(emit_rows(spec).source), table, ids, stage_key(spec), row_bytes)

    def rows(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> dict[str, Array]:
        return appended(list(self.pieces(spec, data, ids, weights)))

    def prepared(self, spec: Mapping[str, Any], data: Columns, ids: Ids, weights: InputWeights) -> Callable[[], object]:
        assert not spec["slots"], "numpy runs programs without weights"
        table, _ = row_table(spec["program"], data)
        columns = {name: np.asarray(table[name], dtype) for name, dtype in table.dtypes.items()}
        return partial(load_source(emit_rows(spec).source).rows, columns, row_keys(ids), stage_key(spec))


def make(*, device: str, threads: int | None, numerics: Numerics = PORTABLE) -> NumpyBackend:
    """The backend; it has one device, one thread and one way to compute."""
    return NumpyBackend()


def compute(program: Any, operands: Sequence[Array]) -> Array:
    """What a serialised program without weights makes of its inputs, in their order: its only output."""
    module = load_source(emit_program(program).source)
    given = {
        name: np.asarray(value, dtype)
        for (name, _, (dtype, _)), value in zip(program["subs"][-1]["inputs"], operands, strict=True)
    }
    with np.errstate(all="ignore"):
        return np.asarray(module.compute(given))
