"""A training run on JAX: the emitted step, compiled once, over data that stays on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax import Array as Tensor

from etude.backends.base import Array
from etude.backends.batches import Index, by_stream, first_rows, ordered_batches
from etude.backends.dispatch import Work
from etude.backends.emission.programs import reads_clock
from etude.backends.emission.stacks import Row
from etude.backends.evaluation import appended, row_average, weighted_average
from etude.backends.feeding import Batch, Buffers, Table, numpy_buffers, read_batches
from etude.backends.inputs import TrainInputs
from etude.backends.jax.blocks import apart, over_weights, together
from etude.backends.jax.checkpoint import optimizer_arrays, restored_optimizer
from etude.backends.jax.chunks import are_equal, compiled_chunk, copied, has_convolution, is_faster, seconds
from etude.backends.jax.places import Places
from etude.backends.jax.rows import gather, padded, resident, row_bits, run_rows, to_device
from etude.backends.jax.sharing import Layout, shared_init, shared_step
from etude.backends.numpy.random import fold
from etude.backends.randomness import initial_key, stage_key
from etude.backends.timetable import Clock

Terms = dict[str, float]
Weights = dict[str, Tensor]
Carried = tuple[Weights, Weights, Any, Weights]
ENOUGH = 0.8


class JaxSession:
    """The `Session` of the training loop on JAX."""

    def __init__(self, module: ModuleType, slots: list[tuple[int, str]], inputs: TrainInputs, places: Places) -> None:
        self.module, self.inputs, self.places = module, inputs, places
        self.stacks: Sequence[Row] = ()
        paths = dict(reversed(slots))  # of tied weights the first path counts
        self.paths = {slot: paths[slot] for slot in inputs.changing_slots() if slot in paths}
        self.slow_paths = {slot: paths[slot] for slot in inputs.following_slots()}
        changing = self.paths | self.slow_paths
        fixed = {path: inputs.weights[slot] for slot, path in paths.items() if slot not in changing}
        self.rest = places.weights(fixed)
        self.params = places.weights({path: inputs.weights[slot] for slot, path in self.paths.items()})
        self.slow = places.weights({path: inputs.weights[slot] for slot, path in self.slow_paths.items()})
        self.opt_state = self._initial_optimizer()
        self.source, self.data = self._placed(inputs.data, places.resident_bytes())
        self.carried = self._initial_state()
        self._step = module.step if places.mesh is None else self._shared_step()
        self.clock: dict[str, Any] = {}
        self._losses: list[Mapping[str, Tensor]] = []
        if inputs.valid is not None:
            held_out, ids = inputs.valid
            self.valid_source, self.valid = self._placed(held_out, places.resident_bytes())
            self.valid_rows = by_stream(lambda rows: row_bits(rows, places.whole), ids)

    @property
    def all_weights(self) -> tuple[Weights, ...]:
        """What `build` takes."""
        return (self.params, self.slow, self.rest) if self.slow else (self.params, self.rest)

    @property
    def buffers(self) -> Buffers:
        return numpy_buffers

    def step(self, index: Index | Batch, key: int, rates: Sequence[float | None], clock: Clock) -> None:
        if self.inputs.reads_clock:
            self.clock = {"@step": np.int32(clock.step), "@progress": np.float32(clock.progress)}
        data, at = placed_rows(self.data, index, self.places)
        lrs = tuple(None if rate is None else np.float32(rate) for rate in rates)
        self.params, *changed, terms = self._step(
            self.params,
            *([self.slow] if self.slow else []),
            self.rest,
            self.opt_state,
            *([self.carried] if self.carried else []),
            data,
            at,
            *([self.clock] if reads_clock(self.inputs.spec) else []),
            np.uint32(key),
            lrs if len(lrs) > 1 else lrs[0],
        )
        if self.slow:
            self.slow = changed.pop(0)
        self.opt_state = changed.pop(0)
        if self.carried:
            self.carried = changed.pop(0)
        self._losses.append(terms)

    @property
    def chunks(self) -> JaxChunks | None:
        """Several steps at once, where every player has its turn at each of them; on a mesh where columns lie there."""
        spec = self.inputs.spec
        is_regular = all(player.get("every", 1) == 1 for player in spec["steps"])
        is_slow = self.places.device.platform == "cpu" and has_convolution(spec)
        is_fed = self.places.mesh is not None and self.source is not None
        return JaxChunks(self) if is_regular and not is_slow and not is_fed else None

    def carry(self) -> Carried:
        """What goes from step to step: weights, slow copies, the optimizer's state, and the state of the loss."""
        return self.params, self.slow, self.opt_state, self.carried

    def take(self, carried: Carried, terms: Mapping[str, Tensor] | None = None) -> None:
        """Go on from what `carry` gave, or from what some steps made of it; their losses are in `terms`, [steps]."""
        self.params, self.slow, self.opt_state, self.carried = carried
        if terms is not None:
            self._losses.append(terms)

    def losses(self) -> list[Terms]:
        terms, self._losses = read_terms(self._losses), []
        return terms

    def evaluate(self, key: int) -> Terms:
        weights, size = self.all_weights, self.inputs.spec["batch"]
        evaluate, terms, counts, scores = compiled_evaluation(self.module), [], [], []
        has_streams = isinstance(self.valid_rows, dict)
        batches = ordered_batches(by_stream(len, self.valid_rows), size)
        for i, (count, index) in enumerate(read_batches(batches, self.valid_source, self.buffers)):
            data, at = placed_rows(self.valid, index, self.places)
            held = {f"@held.{name}": value for name, value in self.carried.items()}
            terms.append(evaluate(weights, data, at, self.clock | held, np.uint32(fold(key, i))))
            counts.append(count)
            if (isinstance(index, Batch) or has_streams) and self.inputs.spec["valid"].get("scores"):
                rows = index.columns if isinstance(index, Batch) else gather(data, at)
                scores.append(self._scores(rows, slice(i * counts[0], i * counts[0] + count), key, counts[0]))
        if self.valid_source is None and not has_streams and self.inputs.spec["valid"].get("scores"):
            scores.append(self._scores(self.valid, slice(None), key, counts[0]))
        return weighted_average(counts, read_terms(terms)) | row_average(appended(scores) if scores else {})

    def _scores(self, data: Mapping[str, Any], rows: slice, key: int, size: int) -> dict[str, Array]:
        """The scores of these rows, in batches of `size`."""
        bits: Any = first_rows(self.valid_rows)[rows]
        count = len(bits)
        if count < size:
            data, bits = {name: padded(column, size) for name, column in data.items()}, padded(np.asarray(bits), size)
        found = run_rows(self.module, "scores", self.all_weights, dict(data), bits, key, size, self.places)
        return {name: values[:count] for name, values in found.items()}

    def _placed(self, table: Table, limit: int) -> tuple[Table | None, dict[str, Tensor]]:
        """The table that batches are read from, or all of it on the device where it is below the limit."""
        return (None, resident(table, self.places.whole)) if table.bytes() <= limit else (table, {})

    def weights(self) -> list[Array]:
        # np.array copies: a view of a device buffer would keep the next step from reusing it
        found = apart(self.params | self.slow, self.stacks)
        changing = self.paths | self.slow_paths
        return self.inputs.changed({slot: np.array(found[path]) for slot, path in changing.items()})

    def state(self) -> dict[str, Array]:
        found, changing = apart(self.params | self.slow, self.stacks), self.paths | self.slow_paths
        arrays = {f"weights.{slot}": np.array(found[path]) for slot, path in changing.items()}
        arrays |= {f"state.{name}": np.array(value) for name, value in self.carried.items()}
        return arrays | optimizer_arrays(self._optimizer_apart())

    def restore(self, state: Mapping[str, Array]) -> None:
        places, stacks = self.places, self.stacks
        params, slow = (
            {path: state[f"weights.{slot}"] for slot, path in paths.items()} for paths in (self.paths, self.slow_paths)
        )
        self.params, self.slow = places.weights(together(params, stacks)), places.weights(together(slow, stacks))
        self.carried = to_device({name: state[f"state.{name}"] for name in self.carried}, places.whole)
        found = restored_optimizer(self._optimizer_apart(), state)
        found = over_weights(lambda each: together(each, stacks), found) if stacks else found
        self.opt_state = jax.device_put(found, places.of_weights(found))

    def layout(self) -> list[str]:
        changing = [f"{slot} {path}" for slot, path in (self.paths | self.slow_paths).items()]
        leaves, _ = jax.tree_util.tree_flatten_with_path(self._optimizer_apart())
        return [*changing, *self.inputs.state_dtypes(), *(jax.tree_util.keystr(path) for path, _ in leaves)]

    def use(self, module: ModuleType) -> None:
        """Go on with another module of the same stage, which may hold weights of equal blocks as one array each."""
        state, rest, stacks = self.state(), apart(self.rest, self.stacks), getattr(module, "STACKS", ())
        self.module, self._step, self.stacks = module, module.step, stacks
        self.rest = self.places.weights(together(rest, stacks))
        self.params = self.places.weights(
            together({path: state[f"weights.{slot}"] for slot, path in self.paths.items()}, stacks)
        )
        self.opt_state = self._initial_optimizer()
        self.restore(state)

    def _optimizer_apart(self) -> Any:
        """The optimizer's state as it is where no weights are held as one array."""
        stacks = self.stacks
        return over_weights(lambda each: apart(each, stacks), self.opt_state) if stacks else self.opt_state

    def _initial_optimizer(self) -> Any:
        """The optimizer's first state, all of it on devices by name, as the step's results are: otherwise the second
        step compiles again."""
        if self.places.mesh is not None:
            return shared_init(self.module, self.places)(self.params)
        return jax.device_put(compiled_init(self.module)(self.params), self.places.device)

    def carried_places(self) -> tuple[Any, Any, Any, Any]:
        """Where what `carry` gives lies."""
        params, slow, opt_state = map(self.places.of_weights, (self.params, self.slow, self.opt_state))
        return params, slow, opt_state, dict.fromkeys(self.carried, self.places.whole)

    def _shared_step(self) -> Any:
        params, slow, opt_state, carried = self.carried_places()
        changed = [params, *([slow] if slow else []), opt_state, *([carried] if carried else [])]
        return shared_step(self.module, self.inputs.spec, self.places, changed)

    def _initial_state(self) -> dict[str, Tensor]:
        dtypes = self.inputs.state_dtypes()
        if not dtypes:
            return {}
        values = self.module.initial_state(np.uint32(initial_key(stage_key(self.inputs.spec))))
        values |= self.inputs.given_state()
        return to_device({name: np.asarray(values[name], dtype) for name, dtype in dtypes.items()}, self.places.whole)


def placed_rows(
    data: Mapping[str, Tensor], index: Index | Batch, places: Places, steps: tuple[int, ...] = ()
) -> tuple[Mapping[str, Any], Any]:
    """Columns, and where in them the rows are: those that lie on the device, or those that were read, all of them.

    Rows of several `steps` are told apart. On a mesh rows are shared out, and those that were read have no positions.
    """

    def placed(rows: Array) -> Any:
        at = rows.astype(np.int32, copy=False).reshape(*steps, -1)
        return at if places.mesh is None else jax.device_put(at, places.rows(at.shape[-1], axis=len(steps)))

    if not isinstance(index, Batch):
        return data, by_stream(placed, index)
    if places.mesh is None:
        return index.columns, by_stream(lambda rows: placed(counted(rows)), index.rows)
    return {name: jax.device_put(column, places.rows(len(column))) for name, column in index.columns.items()}, None


@cache
def counted(rows: int) -> Array:
    """The numbers of all rows."""
    return np.arange(rows, dtype=np.int32)


@cache
def compiled_init(module: ModuleType) -> Callable[[Weights], Any]:
    """The first state of the optimizer, or of each player's, as one compiled function."""
    return jax.jit(module.init)


@cache
def compiled_evaluation(module: ModuleType) -> Callable[..., dict[str, Tensor]]:
    """`module.evaluate` as one compiled function of resident data and indices, per size of batch."""

    @jax.jit
    def at(
        weights: tuple[Weights, ...], data: Weights, index: Tensor, clock: dict[str, Tensor], key: Tensor
    ) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = module.evaluate(module.build(*weights), gather(data, index) | clock, key)
        return terms

    return at


def read_terms(terms: Sequence[Mapping[str, Tensor]]) -> list[Terms]:
    """Scalars on the device as numbers, or several of each in a row: all are sent before the first is waited for."""
    for values in terms:
        for value in values.values():
            value.copy_to_host_async()
    # through numpy: `jax.device_get` and `float` take ten times as long for a scalar
    found: list[Terms] = []
    for values in terms:
        rows = zip(*(np.asarray(value).reshape(-1).tolist() for value in values.values()), strict=True)
        found += [dict(zip(values, row, strict=True)) for row in rows]
    return found


class JaxChunks:
    """Several steps of a session at once."""

    def __init__(self, session: JaxSession) -> None:
        self.session = session

    def run(self, work: Work) -> None:
        session, count, places = self.session, len(work.keys), self.session.places
        data, at = placed_rows(session.data, work.rows, places, (count,))
        lrs = tuple(np.array(rates, np.float32) for rates in zip(*work.rates, strict=True))
        clock = {
            "@step": np.array([clock.step for clock in work.clocks], np.int32),
            "@progress": np.array([clock.progress for clock in work.clocks], np.float32),
        }
        steps = (
            at,
            *([clock] if reads_clock(session.inputs.spec) else []),
            np.array(work.keys, np.uint32),
            lrs if len(lrs) > 1 else lrs[0],
        )
        layout = Layout.of((session.carried_places(), places.whole)) if places.mesh is not None else None
        program = compiled_chunk(session.module, bool(session.slow), bool(session.carried), places, layout)
        carried, terms = program(session.carry(), session.rest, data, steps)
        session.take(carried, terms)
        if session.inputs.reads_clock:
            session.clock = {name: values[-1] for name, values in clock.items()}

    def is_better(self, work: Work) -> bool:
        session, batch = self.session, work.part(0).rows
        columns = session.data if not isinstance(batch, Batch) else batch.columns
        shapes = {name: [*column.shape] for name, column in sorted(columns.items())}
        rows = by_stream(len, batch) if not isinstance(batch, Batch) else batch.rows
        facts = [session.module.__name__, len(work.keys), rows, shapes, session.places.device.device_kind]
        facts += [] if session.places.mesh is None else [dict(session.places.mesh.shape)]
        return is_faster(facts, lambda: self._measured(work))

    def _measured(self, work: Work) -> bool:
        """Whether several steps at once take less than four fifths of the time, and come to the same bits."""
        session, start, clock = self.session, copied(self.session.carry()), self.session.clock
        single, made = seconds(lambda: self._one_by_one(work))
        expected = copied(made)
        times = []
        for _ in range(2):  # the first time it is compiled
            session.take(copied(start))
            times.append(seconds(lambda: self._at_once(work))[0])
        is_better = times[-1] < ENOUGH * single and are_equal(expected, session.carry())
        session.take(start)
        session.losses()
        session.clock = clock
        return is_better

    def _at_once(self, work: Work) -> Any:
        self.run(work)
        return self.session.carry()

    def _one_by_one(self, work: Work) -> Any:
        for i in range(len(work.keys)):
            part = work.part(i)
            self.session.step(part.rows, part.keys[0], part.rates[0], part.clocks[0])
        return self.session.carry()
