"""The training loop that all frameworks share: steps, history, validation, what is kept, and when it fails.

A framework gives a `Session`; nothing here reads a number from a device but at the marks of the history (the end of an
epoch, a validation, the last step) and every two seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from etude.backends.base import (
    Array,
    Checkpoint,
    Columns,
    Emit,
    Extras,
    Record,
    Streams,
    TrainingError,
    TrainingStopped,
    TrainResult,
)
from etude.backends.batches import Ids, Index, JoinedStreams, NoRowsError, Stream
from etude.backends.dispatch import Chunks, Dispatch, Work
from etude.backends.feeding import Batch, Buffers, ReadAhead, Table
from etude.backends.inputs import row_counts
from etude.backends.ordering import stream_of
from etude.backends.randomness import step_key, validation_key
from etude.backends.selection import Selection, judged_by
from etude.backends.snapshots import (
    Keeper,
    Snapshot,
    changing_slots,
    is_finite,
    restore_selection,
    selection_facts,
    selection_weights,
)
from etude.backends.takeover import Places, check_places
from etude.backends.timetable import Clock, Timetable, patience
from etude.backends.weights import save_weights

Json = Any
Terms = dict[str, float]

READ_SECONDS = 2.0
PROGRESS_SECONDS = 0.2
COUNTED = ("step", "epoch", "lr")  # what a row of a history has besides terms


class Session(Protocol):
    """One training run in one framework: weights, optimizer state and data on its device."""

    @property
    def source(self) -> Table | None:
        """The table that steps want to be given batches of; None where they want positions of rows that are there."""
        ...

    @property
    def chunks(self) -> Chunks | None:
        """Several steps at once, where the framework can do that for this stage."""
        ...

    @property
    def buffers(self) -> Buffers:
        """Where batches are to be put."""
        ...

    def step(self, index: Index | Batch, key: int, rates: Sequence[float | None], clock: Clock) -> None:
        """Start one update on the rows at `index`, one learning rate per player (None: not its turn)."""
        ...

    def losses(self) -> list[Terms]:
        """The terms of every step since they were last asked for, waiting until they are known."""
        ...

    def evaluate(self, key: int) -> Terms:
        """The validation losses and scores of the current weights, as means over rows."""
        ...

    def weights(self) -> list[Array]:
        """Copies of the current weights, by slot."""
        ...

    def state(self) -> dict[str, Array]:
        """All that the session carries from step to step: weights, optimizer state, and the state of the loss."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from what `state` gave."""
        ...

    def layout(self) -> list[str]:
        """Which weight each part of `state` belongs to, in an order that both sides share."""
        ...


class Chooser(Protocol):
    """Decides before the first step how a session computes, where forms of one program differ in rounding."""

    def choose(self, work: Callable[[], Work], steps: int, before: Mapping[str, Json]) -> Mapping[str, Json]:
        """Settle on a form for so many steps, the first of which are given `work`; what was chosen, and why.

        `before` is what was chosen when this training began, if it is taken up."""
        ...


@dataclass
class Loop:
    """One run of a timetable over a session."""

    session: Session
    timetable: Timetable
    stream: Stream | JoinedStreams | ReadAhead
    selection: Selection
    folder: Path
    emit: Emit
    stop: Callable[[], bool]
    record: Record = "epoch"
    keeper: Keeper | None = None
    extras: Extras = field(default_factory=Extras)
    chooser: Chooser | None = None
    history: list[dict[str, Json]] = field(default_factory=list)
    done: int = 0
    _terms: list[Terms] = field(default_factory=list)
    _good: Checkpoint | None = None
    _started_at: float = 0.0
    _read_at: float = 0.0
    _reported_at: float = 0.0
    _reported: int = 0
    _validated: dict[str, Json] = field(default_factory=dict)
    _told: int = 0  # rows of the history that a report has carried
    _continued: list[int] = field(default_factory=list)
    _kept_at: int = 0
    _chosen: Mapping[str, Json] = field(default_factory=dict)
    _chunks: Chunks | None = None
    _dispatch: Dispatch = field(init=False)

    def run(self, limit: int | None = None) -> TrainResult:
        """Train for the timetable's steps, or `limit` of them. Raises `TrainingError`, `TrainingStopped`."""
        self.done = self.timetable.first
        self._started_at = self._read_at = self._reported_at = time.perf_counter()
        self._go_on()
        self._reported = self._kept_at = self.done
        self._good = Checkpoint(self.done, self.timetable.epoch(self.done), self.session.weights())
        last = self.timetable.steps if limit is None else min(self.timetable.steps, self.timetable.first + limit)
        if self.chooser is not None and self.done < last:
            self._chosen = self.chooser.choose(lambda: self._work(1), last - self.done, self._chosen)
        self._prepare(last)
        while self.done < last and not self.selection.is_exhausted:
            if self.stop():
                self._keep(wait=True)
                raise TrainingStopped(self.done, self.timetable.steps)
            self._step()
            last = self.done if self._is_late() else last
            self._look(is_last=self.done == last)
            if self.keeper is not None and self.done < last and self.keeper.is_due(self.done):
                self._keep()
        kept = self.selection.result(self._good)
        return TrainResult(
            weights=kept.weights,
            history=self.history,
            steps=self.done,
            seconds=time.perf_counter() - self._started_at,
            kept=kept.step,
            checkpoints=self._checkpoints(),
            continued=self._continued,
            at_once=self._dispatch.size,
            rewrites=self._chosen,
            end=self._end() if self.extras.keeps_end else None,
        )

    def _checkpoints(self) -> list[Checkpoint]:
        """One for each place of the timetable, as far as the training came."""
        found = {checkpoint.step: checkpoint for checkpoint in self.selection.checkpoints}
        return [found[step] for step in self.timetable.checkpoints if step in found]

    def _end(self) -> Snapshot:
        places = Places.of(self.session.layout())
        return Snapshot(self.done, places.stored(self.session.state()), {}, {"layout": places.entries})

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started_at

    def _is_late(self) -> bool:
        """Whether the time is over, where the budget is a time."""
        return self.timetable.seconds is not None and self._elapsed() >= self.timetable.seconds

    def _go_on(self) -> None:
        """Take up the training where an earlier process left it, if one did."""
        snapshot = self.keeper.latest() if self.keeper is not None else None
        if snapshot is None or self._is_left_out(snapshot):
            if self.extras.start is not None:
                self._take_up(self.extras.start)
            return
        facts = snapshot.facts
        self.session.restore(snapshot.state)
        restore_selection(self.selection, facts["selection"], snapshot.kept, self.session.weights())
        self.done, self.history, self._terms = snapshot.step, facts["history"], facts["terms"]
        self._validated, self._continued = facts["validated"], [*facts["continued"], snapshot.step]
        self._started_at -= facts["seconds"]
        self._chosen = facts.get("rewrites", {})
        self.emit({"kind": "continued", "step": self.done, "steps": self._expected_steps()})

    def _take_up(self, end: Snapshot) -> None:
        """Begin with the end of another training. Raises `OtherRunError`."""
        before, now = Places.of(end.facts["layout"]), Places.of(self.session.layout())
        check_places(before, now)
        if set(before.states) == set(now.states):  # ends that were stored with names have them in another order
            before = replace(before, states=now.states)
        self.session.restore(now.restored(before.stored(end.state)))

    def _is_left_out(self, snapshot: Snapshot) -> bool:
        """Whether the steps before were done in a way that is not wanted now."""
        found = snapshot.facts.get("rewrites", {})
        return any(found[name]["is_used"] for name in found if name in self.extras.without)

    def _keep(self, *, wait: bool = False) -> None:
        """Keep how far the training is, unless that is known already."""
        if self.keeper is not None and self.done > self._kept_at:
            self._read()
            if self.keeper.keep(self._snapshot, wait=wait):
                self._kept_at = self.done

    def _snapshot(self) -> Snapshot | None:
        """The training as it is now; None where weights are not finite, as the next mark will say."""
        state = self.session.state()
        facts = {
            "history": [*self.history],
            "terms": [*self._terms],
            "validated": self._validated,
            "seconds": time.perf_counter() - self._started_at,
            "continued": self._continued,
            "rewrites": self._chosen,
            "selection": selection_facts(self.selection),
        }
        kept = selection_weights(self.selection, changing_slots(state))
        return Snapshot(self.done, state, kept, facts) if is_finite(state) else None

    def _step(self) -> None:
        count = self._dispatch.steps(self.done)
        work = self._work(count)
        if count == 1:
            self.session.step(work.rows, work.keys[0], work.rates[0], work.clocks[0])
        else:
            assert self._chunks is not None
            self._chunks.run(work)
        self.done += count

    def _work(self, count: int) -> Work:
        """What the next steps are given."""
        timetable, steps = self.timetable, range(self.done, self.done + count)
        elapsed = self._elapsed() if timetable.seconds is not None else 0.0
        return Work(
            self.stream.indices(self.done, count),
            [step_key(timetable.key, step) for step in steps],
            [timetable.step_rates(step, elapsed) for step in steps],
            [timetable.clock(step, elapsed) for step in steps],
        )

    def _prepare(self, last: int) -> None:
        """Say how the steps up to the last one are handed to the framework."""
        self._chunks = chunks = self.session.chunks

        def is_better(count: int) -> bool:
            return chunks is not None and chunks.is_better(self._work(count))

        self._dispatch = Dispatch(self.timetable, last, chunks is not None, self._read, is_better)

    def _look(self, *, is_last: bool) -> None:
        """Do what is due after a step."""
        timetable = self.timetable
        is_validation = timetable.is_validation(self.done) or (is_last and timetable.validation is not None)
        is_watched = timetable.is_watched(self.done) or (is_last and timetable.watching is not None)
        is_due = timetable.is_epoch_end(self.done) or timetable.is_checkpoint(self.done)
        if is_validation or is_watched or is_last or is_due:
            self._mark(is_validation=is_validation, is_watched=is_watched)
        elif time.perf_counter() - self._read_at > READ_SECONDS:
            self._read()
        self._report()

    def _mark(self, *, is_validation: bool, is_watched: bool) -> None:
        """Read the losses, validate, ask the probes, and write history rows."""
        self._read()
        weights = self._checked_weights()
        values = self.session.evaluate(validation_key(self.timetable.key)) if is_validation else {}
        is_checkpoint = self.timetable.is_checkpoint(self.done)
        self.selection.offer(self.done, self.timetable.epoch(self.done), weights, values, is_checkpoint=is_checkpoint)
        self.history += self._rows(values)
        if is_watched and self.extras.watch is not None:
            self.history[-1] |= self.extras.watch(weights)
        self._terms = []

    def _rows(self, values: Terms) -> list[dict[str, Json]]:
        first = self.done - len(self._terms)
        if self.record == "step":
            rows = [self._row(first + i + 1, terms) for i, terms in enumerate(self._terms)]
        else:
            rows = [self._row(self.done, mean_terms(self._terms))]
        if values:
            self._validated = {f"valid.{name or 'score'}": finite(value) for name, value in values.items()}
            rows[-1] |= self._validated
        return rows

    def _row(self, done: int, terms: Terms) -> dict[str, Json]:
        factor = self.timetable.scale(done - 1, self._elapsed())
        return {"step": done, "epoch": self.timetable.epoch(done), **terms, "lr": self.timetable.rates[0] * factor}

    def _read(self) -> None:
        """Wait for the losses of the steps so far; a loss that is not finite ends the run."""
        terms = self.session.losses()
        first = self.done - len(terms)
        self._read_at = time.perf_counter()
        for i, values in enumerate(terms):
            shown = {shown: values[name] for name, shown in self.timetable.terms.items() if name in values}
            # a total is not finite when a part is: the part is to blame
            for name in sorted(shown, key=lambda name: name.endswith("loss")):
                if not math.isfinite(shown[name]):
                    self._fail(first + i + 1, name, shown[name])
            self._terms.append(shown)

    def _checked_weights(self) -> list[Array]:
        weights = self.session.weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            self._fail(self.done, "weights", None)
        self._good = Checkpoint(self.done, self.timetable.epoch(self.done), weights)
        return weights

    def _fail(self, step: int, term: str, loss: float | None) -> None:
        assert self._good is not None
        path = self.folder / "last_good.safetensors"
        save_weights(path, self._good.weights)
        raise TrainingError(step=step, term=term, loss=loss, last_good_step=self._good.step, checkpoint=path)

    def _report(self) -> None:
        now = time.perf_counter()
        if now - self._reported_at < PROGRESS_SECONDS and self.done < self.timetable.steps:
            return
        rate = (self.done - self._reported) * self.timetable.batch / max(now - self._reported_at, 1e-9)
        rows, self._told = self.history[self._told :], len(self.history)
        self._reported, self._reported_at = self.done, now
        terms = self._latest_terms()
        losses = [value for name, value in terms.items() if name.split(".")[-1] == "loss"]
        self.emit(
            {
                "kind": "progress",
                "step": self.done,
                "steps": self._expected_steps(),
                "epoch": self.timetable.epoch(self.done),
                "loss": losses[0] if losses else None,
                "terms": terms,
                "history": rows,
                "seconds": now - self._started_at,
                "rows_per_second": rate,
            }
        )

    def _expected_steps(self) -> int:
        """The steps of the whole training, by what it has done where the budget is a time."""
        if self.timetable.seconds is None:
            return self.timetable.steps
        return max(self.done, round(self.done * max(1.0, self.timetable.seconds / max(self._elapsed(), 1e-9))))

    def _latest_terms(self) -> dict[str, Json]:
        """The terms of the last step that is known, and what the last validation gave."""
        last = self.history[-1] if self.history else {}
        terms = self._terms[-1] if self._terms else {name: last[name] for name in last if name not in COUNTED}
        return {**terms, **self._validated}


def mean_terms(terms: Sequence[Terms]) -> Terms:
    """The mean of each term over the steps that have it.

    >>> mean_terms([{"loss": 1.0}, {"loss": 2.0}])
    {'loss': 1.5}
    """
    names = dict.fromkeys(name for values in terms for name in values)
    return {name: float(np.mean([values[name] for values in terms if name in values])) for name in names}


def finite(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


def train_session(
    session: Session,
    spec: Mapping[str, Json],
    ids: Ids | Streams,
    data: Columns,
    folder: Path,
    emit: Emit,
    stop: Callable[[], bool],
    *,
    limit: int | None = None,
    record: Record = "epoch",
    keeper: Keeper | None = None,
    extras: Extras | None = None,
    chooser: Chooser | None = None,
) -> TrainResult:
    """Run a train stage's spec over a session of any framework. `data` has the columns that order rows."""
    extras = extras or Extras()
    rows = row_counts(ids)
    if 0 in rows:
        raise NoRowsError("train on")
    first = extras.start.step if extras.start is not None else 0
    timetable = Timetable.of(spec, rows[0], first)
    stream = stream_of(spec, ids, data, first, timetable.steps)
    selection = Selection(spec.get("keep", "last"), judged_by(spec), patience(spec, rows[0]))
    loop = Loop(session, timetable, stream, selection, folder, emit, stop, record, keeper, extras, chooser)
    if session.source is None:
        return loop.run(limit)
    loop.stream = ahead = ReadAhead(stream, session.source, timetable.steps, session.buffers)
    try:
        return loop.run(limit)
    finally:
        ahead.close()
