"""Whether a training computes its equal blocks by scans or one after the other: whichever a timing says is sooner done.

A scan is compiled in the time of one block, and takes a step of its own; both forms come to the same numbers but for
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from etude.backends.batches import by_stream
from etude.backends.dispatch import Work
from etude.backends.emission import Emitted
from etude.backends.emission.stacks import LEAST_BLOCKS, SCAN
from etude.backends.feeding import Batch
from etude.backends.jax.chunks import has_convolution, recalled, remember, seconds
from etude.backends.jax.emit import emit_train
from etude.backends.jax.train import JaxSession, placed_rows
from etude.backends.modules import load_source
from etude.backends.numerics import Numerics

Json = Any
Figures = dict[str, dict[str, float]]

UNROLLED = "unrolled"
LEAST_STEPS, MOST_STEPS = 3, 30  # of quick steps more are timed; the quickest one counts
TIMED_SECONDS = 0.2
GAIN = 0.2  # of the time of steps: more is not to be had by the form that takes longer to compile


def scanning(session: JaxSession, unrolled: Emitted, numerics: Numerics, path: Path) -> Scanning | None:
    """What chooses for a session, where the stage has runs of equal blocks that a scan can do."""
    spec = session.inputs.spec
    is_slow = session.places.device.platform == "cpu" and has_convolution(spec)
    if is_slow or session.places.mesh is not None:
        return None
    scanned = emit_train(spec, numerics, scans=LEAST_BLOCKS)
    return Scanning(session, {SCAN: scanned, UNROLLED: unrolled}, path) if scanned.blocks else None


@dataclass(frozen=True)
class Scanning:
    """The two forms of a stage for a session; the source of the one that is chosen is written to `path`."""

    session: JaxSession
    forms: Mapping[str, Emitted]
    path: Path

    def choose(self, work: Callable[[], Work], steps: int, before: Mapping[str, Json]) -> dict[str, Json]:
        """Settle on a form for so many steps: that in which the training began, or the one that is sooner done."""
        found = before.get(SCAN) or self._decided(work(), steps)
        chosen = self.forms[SCAN if found["is_used"] else UNROLLED]
        self.session.use(load_source(chosen.source, self.path))
        return {SCAN: found}

    def _decided(self, work: Work, steps: int) -> dict[str, Json]:
        facts = self._facts(work)
        figures: Figures = recalled(SCAN, facts)
        for name in (SCAN, UNROLLED):
            if name not in figures and is_worth_trying(figures, steps):
                figures[name] = self._measured(name, work)
                remember(SCAN, facts, figures)
        totals = {name: total_seconds(each, steps) for name, each in figures.items()}
        is_used = min(totals, key=lambda name: totals[name]) == SCAN
        blocks = max(self.forms[SCAN].blocks)
        because = reason(figures, steps)
        return {"is_used": is_used, "blocks": blocks, "because": because, "steps": steps, "seconds": figures}

    def _facts(self, work: Work) -> list[Json]:
        session = self.session
        modules = [load_source(form.source).__name__ for form in self.forms.values()]
        columns = placed_rows(session.data, work.rows, session.places)[0]
        shapes = {name: [*column.shape] for name, column in sorted(columns.items())}
        rows = work.rows.rows if isinstance(work.rows, Batch) else by_stream(len, work.rows)
        return [*modules, rows, shapes, session.places.device.device_kind]

    def _measured(self, name: str, work: Work) -> dict[str, float]:
        """The seconds until a form's step is compiled, and those of a step; the session is left as it was."""
        session, clock = self.session, self.session.clock
        module: ModuleType = load_source(self.forms[name].source)
        session.use(module)
        state = session.state()
        first, others = seconds(lambda: self._stepped(work))[0], list[float]()
        while len(others) < LEAST_STEPS or (sum(others) < TIMED_SECONDS and len(others) < MOST_STEPS):
            others.append(seconds(lambda: self._stepped(work))[0])
        session.losses()
        session.restore(state)
        session.clock = clock
        return {"compile": round(max(0.0, first - min(others)), 3), "step": round(min(others), 6)}

    def _stepped(self, work: Work) -> Any:
        self.session.step(work.rows, work.keys[0], work.rates[0], work.clocks[0])
        return self.session.carry()


def reason(figures: Figures, steps: int) -> str:
    """What the choice was made by.

    >>> reason({"scan": {"compile": 2.0, "step": 0.05}}, 20)
    '20 steps: scan 2.00 s + 50.0 ms each; to try the blocks unrolled would take longer than it can save'
    """
    texts = [f"{name} {each['compile']:.2f} s + {1e3 * each['step']:.1f} ms each" for name, each in figures.items()]
    untried = [] if UNROLLED in figures else ["to try the blocks unrolled would take longer than it can save"]
    return f"{steps} steps: {'; '.join([*texts, *untried])}"


def is_worth_trying(figures: Figures, steps: int) -> bool:
    """Whether another form may be sooner done than what was measured: to compile it takes as long at least."""
    return all(steps * each["step"] * GAIN > each["compile"] for each in figures.values())


def total_seconds(figures: Mapping[str, float], steps: int) -> float:
    """How long a form takes for so many steps."""
    return figures["compile"] + steps * figures["step"]
