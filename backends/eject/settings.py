"""What of a train stage's spec goes into the loop of a script, as Python text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from etude.backends.batches import stream_seed
from etude.backends.emission.programs import has_streams, reads_clock
from etude.backends.inputs import program_columns
from etude.backends.program.serialize import program_from_json
from etude.backends.randomness import initial_key, stage_key
from etude.backends.selection import judged_by
from etude.backends.timetable import Timetable

Json = Any
CLOCK = {"@step", "@progress"}


def decay_text(plan: Mapping[str, Json]) -> str:
    """The factor on the learning rate as an expression of `progress`."""
    match plan["name"]:
        case "exponential":
            return f"{float(plan['rate'])!r} ** progress"
        case "step_decay":
            return f"{float(plan['rate'])!r} ** sum(progress >= share for share in {tuple_text(plan['at'])})"
        case "one_cycle":
            return f"one_cycle(progress, {float(plan['start'])!r}, {float(plan['peak'])!r})"
    return {
        "constant": "1.0",
        "linear_decay": "1.0 - progress",
        "cosine": "0.5 * (1.0 + math.cos(math.pi * progress))",
    }[plan["name"]]


@dataclass(frozen=True)
class LoopSettings:
    """The numbers and expressions that a loop is written from.

    `steps`, `warmup` and `checkpoints` are expressions of `rows` and `size` (of a batch); `columns` are those of the
    history; `terms` says what the history calls the losses that the step calls otherwise. `streams` has the seeds of
    the orders of several data sets, by name. `curriculum` has the start, the end and the power of one.
    """

    batch: int
    seed: int
    streams: dict[str, int]
    is_weighted: bool
    curriculum: tuple[float, float, float] | None
    key: int
    rates: tuple[float, ...]
    turns: tuple[int, ...]
    steps: str
    warmup: str
    decay: str
    final: float
    terms: dict[str, str]
    columns: tuple[str, ...]
    has_valid: bool
    has_scores: bool
    validates_streams: bool
    valid_period: str
    judged_by: str | None
    keeps_best: bool
    checkpoints: str | None
    patience: str | None
    has_slow: bool
    state: dict[str, str]
    given: frozenset[str]
    initial_key: int
    step_reads_clock: bool
    valid_reads_clock: bool

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rates change."""
        return (self.decay, self.warmup) != ("1.0", "0")

    @property
    def reads_clock(self) -> bool:
        return self.step_reads_clock or self.valid_reads_clock

    @classmethod
    def of(cls, spec: Mapping[str, Json]) -> LoopSettings:
        timetable, valid, plan = Timetable.of(spec, 1), spec.get("valid"), spec["schedule"]
        keeps_best = valid is not None and spec.get("keep") == "best"
        patience = spec.get("patience") if valid else None
        score = judged_by(spec)
        return cls(
            batch=spec["batch"],
            seed=spec["seed"],
            streams=_streams(spec),
            is_weighted=bool(spec.get("weights")),
            curriculum=_curriculum(spec),
            key=stage_key(spec),
            rates=timetable.rates,
            turns=timetable.turns,
            steps=_duration(spec["budget"]),
            warmup=_warmup(plan.get("warmup", 0.0)),
            decay=decay_text(plan),
            final=float(plan.get("final", 0.0)),
            terms={term: shown for term, shown in timetable.terms.items() if term != shown},
            columns=("step", "epoch", *timetable.terms.values(), "lr", *_valid_columns(valid)),
            has_valid=valid is not None,
            has_scores=bool(valid and valid.get("scores")),
            validates_streams=valid is not None and isinstance(spec["inputs"].get("valid"), Mapping),
            valid_period=_period(valid["every"]) if valid else "",
            judged_by=(f'found["{score}"]' if score is not None else '-found["loss"]')
            if keeps_best or patience is not None
            else None,
            keeps_best=keeps_best,
            checkpoints=_checkpoints(spec.get("checkpoints")),
            patience=None if patience is None or valid is None else _exhausted(patience, valid["every"]),
            has_slow=bool(spec.get("ema")),
            state=_state(spec),
            given=frozenset((spec.get("state") or {}).get("given", {})),
            initial_key=initial_key(stage_key(spec)),
            step_reads_clock=reads_clock(spec),
            valid_reads_clock=valid is not None and not CLOCK.isdisjoint(program_columns(valid["loss"])),
        )


def _curriculum(spec: Mapping[str, Json]) -> tuple[float, float, float] | None:
    for order in filter(None, (spec.get("order") or {}).values()):
        return float(order["start"]), float(order["until"]), float(order["power"])
    return None


def _streams(spec: Mapping[str, Json]) -> dict[str, int]:
    names = spec["inputs"]["on"] if has_streams(spec) else ()
    return {name: stream_seed(spec["seed"], ordinal) for ordinal, name in enumerate(names)}


def _state(spec: Mapping[str, Json]) -> dict[str, str]:
    """What is carried from step to step, by name, each with its dtype."""
    if not spec.get("state"):
        return {}
    outputs = program_from_json(spec["state"]["init"]).sub.outputs
    return {name: value.type.dtype for name, value in outputs}


def _valid_columns(valid: Json | None) -> list[str]:
    if not valid:
        return []
    programs = [valid["loss"], valid.get("scores")]
    names = [[name for name, _ in program["subs"][-1]["outputs"]] if program else [] for program in programs]
    return [f"valid.{name}" for name in ("loss", *filter(None, names[0]), *(name or "score" for name in names[1]))]


def _duration(parts: Mapping[str, Json]) -> str:
    """Steps of a duration, rounded up.

    >>> _duration({"epochs": 2.5}), _duration({"epochs": 3, "min_steps": 200}), _duration({"steps": 40})
    ('max(1, -(-5 * rows // (2 * size)))', 'max(1, -(-3 * rows // size), 200)', '40')
    """
    texts = [_steps(unit, Fraction(str(amount))) for unit, amount in parts.items()]
    if len(texts) == 1 and texts[0].isdigit() and int(texts[0]) > 0:
        return texts[0]
    return f"max(1, {', '.join(texts)})"


def _steps(unit: str, amount: Fraction) -> str:
    if unit in ("steps", "min_steps"):
        return str(-(-amount // 1))
    top, size = amount.numerator, "size" if amount.denominator == 1 else f"({amount.denominator} * size)"
    return f"-(-{top} * rows // {size})" if unit == "epochs" else f"-(-{top} // {size})"


def _checkpoints(given: Mapping[str, Json] | None) -> str | None:
    """The steps after which weights are kept: the last of each period.

    >>> _checkpoints({"every": {"epochs": 1.5}, "count": 2})
    '{min(steps, max(1, -(-3 * number * rows // (2 * size)))) for number in range(1, 3)}'
    """
    if given is None:
        return None
    ((unit, amount),) = given["every"].items()
    exact = Fraction(str(amount))
    top = " * ".join([f"-{exact.numerator}", "number", *(["rows"] if unit == "epochs" else [])])
    parts = [*([str(exact.denominator)] if exact.denominator > 1 else []), *(["size"] if unit == "epochs" else [])]
    size = f" // {parts[0] if len(parts) == 1 else f'({parts[0]} * size)'}" if parts else ""
    return f"{{min(steps, max(1, -({top}{size}))) for number in range(1, {given['count'] + 1})}}"


def _warmup(warmup: float | Mapping[str, Json]) -> str:
    if isinstance(warmup, Mapping):
        return f"min(steps, {_duration(warmup)})"
    return f"round({warmup!r} * steps)" if warmup else "0"


def _period(every: Mapping[str, Json]) -> str:
    """The rows of a period, and in how many parts they are taken, as arguments."""
    ((unit, amount),) = every.items()
    exact = Fraction(str(amount))
    unit_rows = {"epochs": "rows", "steps": "size", "examples": ""}[unit]
    factors = [str(exact.numerator)] if exact.numerator != 1 or not unit_rows else []
    rows = " * ".join([*factors, *filter(None, [unit_rows])])
    return rows if exact.denominator == 1 else f"{rows}, {exact.denominator}"


def _exhausted(patience: int | Mapping[str, Json], every: Mapping[str, Json]) -> str:
    """The condition that so many validations, or those of so long, brought nothing."""
    if isinstance(patience, int):
        return f"waited >= {patience}"
    (longest, parts), (period, own_parts) = _rows_of(patience), _rows_of(every)
    left, right = f" * {parts}" if parts != 1 else "", f" * {own_parts}" if own_parts != 1 else ""
    return f"waited * {period}{left} >= {longest}{right}"


def _rows_of(every: Mapping[str, Json]) -> tuple[str, int]:
    rows, _, parts = _period(every).partition(", ")
    return rows, int(parts or 1)


def tuple_text(values: Sequence[Any]) -> str:
    """A tuple as the formatter writes it."""
    texts = [f'"{value}"' if isinstance(value, str) else repr(value) for value in values]
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
