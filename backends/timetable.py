"""When a train stage does what: its steps, learning rates, turns of players, ends of epochs and validations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from etude.backends.batches import batch_rows, steps_in
from etude.backends.randomness import stage_key
from etude.backends.schedules import Schedule, schedule

Json = Any


@dataclass(frozen=True)
class Period:
    """Something that happens each time that `rows / parts` rows have been seen."""

    rows: int
    parts: int = 1

    @classmethod
    def of(cls, every: Mapping[str, Json], rows: int, batch: int) -> Period:
        """The period of {"epochs": n}, {"steps": n} or {"examples": n} where an epoch has `rows` rows."""
        ((unit, amount),) = every.items()
        period = Fraction(str(amount)) * {"epochs": rows, "steps": batch, "examples": 1}[unit]
        return cls(period.numerator, period.denominator)

    def ends_at(self, seen: int, batch: int) -> bool:
        """Whether a period ends within the last `batch` of the `seen` rows."""
        return seen * self.parts // self.rows > (seen - batch) * self.parts // self.rows

    def next_end(self, done: int, batch: int) -> int:
        """The first step after `done` of them with which a period ends."""
        ended = done * batch * self.parts // self.rows
        return -(-(ended + 1) * self.rows // (self.parts * batch))


class Clock(NamedTuple):
    """The number of a step, and the share of all steps that is done before it."""

    step: int
    progress: float


@dataclass(frozen=True)
class Timetable:
    """What a train stage's spec comes to on `rows` rows: steps, rates, keys, and where it is looked at.

    `terms` has the columns of the history by what the emitted module calls them.
    """

    steps: int
    rows: int
    batch: int
    rates: tuple[float, ...]
    turns: tuple[int, ...]
    factor: Schedule
    key: int
    epochs: Period
    validation: Period | None
    terms: Mapping[str, str]

    @classmethod
    def of(cls, spec: Mapping[str, Json], rows: int) -> Timetable:
        batch, valid = batch_rows(spec["batch"], rows), spec["valid"]
        steps = steps_in(spec["budget"], rows, batch)
        return cls(
            steps=steps,
            rows=rows,
            batch=batch,
            rates=tuple(player["optimizer"]["lr"] for player in spec["steps"]),
            turns=tuple(player.get("every", 1) for player in spec["steps"]),
            factor=schedule(spec["schedule"], steps, rows=rows, batch=batch),
            key=stage_key(spec),
            epochs=Period(rows),
            validation=Period.of(valid["every"], rows, batch) if valid else None,
            terms=dict(_term_names(spec["steps"])),
        )

    def step_rates(self, step: int) -> list[float | None]:
        """The learning rate of each player at `step`; None when it is not its turn."""
        factor = self.factor(step)
        return [rate * factor if step % turn == 0 else None for rate, turn in zip(self.rates, self.turns, strict=True)]

    def clock(self, step: int) -> Clock:
        """What a loss may know about the time at `step`."""
        return Clock(step, step / self.steps)

    def epoch(self, done: int) -> float:
        """Epochs seen after `done` steps."""
        return round(done * self.batch / self.rows, 4)

    def next_mark(self, done: int) -> int:
        """The first step after `done` of them with which an epoch ends or a validation is due."""
        periods = [self.epochs, *([self.validation] if self.validation else [])]
        return min(period.next_end(done, self.batch) for period in periods)

    def shortest_period(self) -> int:
        """How many steps there are at least between two epochs' ends, or two validations."""
        periods = [self.epochs, *([self.validation] if self.validation else [])]
        return min(period.rows // (period.parts * self.batch) for period in periods)

    def is_epoch_end(self, done: int) -> bool:
        return self.epochs.ends_at(done * self.batch, self.batch)

    def is_validation(self, done: int) -> bool:
        """Whether the weights are validated after `done` steps; the last step is judged by the caller."""
        return self.validation is not None and self.validation.ends_at(done * self.batch, self.batch)


def _term_names(players: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """The columns of the history, in the order that people expect: a total before its parts."""
    called = [player.get("name", str(number)) for number, player in enumerate(players)]
    for number, player in enumerate(players):
        prefix, shown = f"{number}.", f"{called[number]}."
        if len(players) == 1:
            prefix = shown = ""
        elif called.count(called[number]) > 1:
            shown = f"{called[number]}.{called[:number].count(called[number])}."
        names = [name for name, _ in player["loss"]["subs"][-1]["outputs"]]
        for name in dict.fromkeys(["loss", *(name for name in names if name and not name.startswith("@"))]):
            yield f"{prefix}{name}", f"{shown}{name}"
