"""Progress as a live tree: branches for functions and sweeps, bars for what is running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from etude.compiler.draw.picture import Box, Frame, Picture
from etude.compiler.draw.repeats import settings
from etude.compiler.draw.tree import tree_rows
from etude.compiler.draw.workflow import REPORT_ID, workflow_picture
from etude.compiler.workflow import Workflow
from etude.runtime.events import Event
from etude.runtime.progress.durations import clock_text, duration_text
from etude.runtime.progress.plain import STOPPING
from etude.runtime.progress.state import ReadValue, RunState, StageState, progress_texts

BAR, REFRESH = 24, 8
MARKS = {
    "done": ("✓", "green"),
    "cached": ("✓", "bright_black"),
    "failed": ("✗", "bold red"),
    "skipped": ("-", "bright_black"),
    "running": ("•", "yellow"),
    "waiting": ("·", "bright_black"),
}
ORDER = ("failed", "running", "skipped", "waiting", "done", "cached")  # what a row of several stages shows first


class LiveProgress:
    """Draws the tree on the terminal that standard error is, until the run is over; then it stays as it was."""

    def __init__(self, workflow: Workflow, read: ReadValue, console: Console | None = None) -> None:
        self.state = RunState(workflow, read)
        self.picture = workflow_picture(workflow, classes=self.state.classes)
        self.console = console or Console(stderr=True, highlight=False)
        self._members = self._stages_of_boxes()
        self._warnings: list[str] = []
        self._continued: list[str] = []
        self._live = Live(console=self.console, get_renderable=self.render, refresh_per_second=REFRESH, transient=False)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        self.state.handle(event)
        if event.kind == "stage-warning":
            self._warnings.append(f"{event.name}: {event.data['message']}")
        elif event.kind == "run-stopping":
            self._warnings.append(STOPPING)
        elif event.kind == "stage-continued":
            self._continued.append(f"{event.name} continues at step {event.data['step']} of {event.data['steps']}")

    def _stages_of_boxes(self) -> dict[str, list[StageState]]:
        members: dict[str, list[StageState]] = {}
        for id, first in self.state.classes.items():
            members.setdefault(first, []).append(self.state.stages[id])
        return members

    def render(self) -> RenderableType:
        """The whole picture of this moment, cut to the height of the terminal."""
        now = time.time()
        rows = list(self._rows(now))
        room = max(self.console.height - 4, 5)
        return Group(self._headline(now), _table(rows if len(rows) <= room else _shortened(rows, room)), *self._notes())

    def _headline(self, now: float) -> RenderableType:
        done = self.state.finished
        line = Table.grid(padding=(0, 2))
        left = self.state.seconds_left(now) if self.state.started else None
        spent = now - self.state.started if self.state.started else 0.0
        line.add_row(
            Text(self.picture.title, style="bold"),
            ProgressBar(total=max(self.state.total, 1), completed=done, width=2 * BAR, complete_style="cyan"),
            Text(f"{done}/{self.state.total}"),
            Text(clock_text(spent) + (f", about {clock_text(left)} left" if left and left > 1 else ""), style="cyan"),
        )
        return line

    def _notes(self) -> list[Text]:
        continued = [Text(text, style="cyan") for text in self._continued[-3:]]
        return [*continued, *(Text(f"warning: {text}", style="yellow") for text in self._warnings[-3:])]

    def _rows(self, now: float) -> Iterator[_Row]:
        for lead, item in tree_rows(_without_report(self.picture)):
            if isinstance(item, Frame):
                yield _Row(lead, f"{item.title} {item.badge}".rstrip(), "bold", "heading", Text())
                continue
            members = self._members[item.id]
            yield _box_row(lead, item, members, now)
            inner = lead[:-3] + ("│  " if lead[-3:] == "├─ " else "   ")
            running = [state for state in members if state.status == "running"]
            if len(members) > 1:
                for state in running:
                    words = _running_text(state, now)
                    yield _Row(f"{inner}  ", _member_name(state), "yellow", "running", words, state.share)


@dataclass(frozen=True)
class _Row:
    """One line: the branches left of it, a name, a mark, a bar where something runs, and words."""

    lead: str
    name: str
    style: str
    status: str
    words: Text
    share: float | None = None


def _table(rows: list[_Row]) -> Table:
    table = Table.grid(padding=(0, 1), expand=False)
    table.add_column(no_wrap=True, max_width=44)
    table.add_column(no_wrap=True, width=1)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        mark, style = MARKS.get(row.status, ("", ""))
        name = Text.assemble((row.lead, "bright_black"), (row.name, row.style))
        table.add_row(name, Text(mark, style=style), _cell(row))
    return table


def _cell(row: _Row) -> RenderableType:
    if row.share is None:
        return row.words
    cell = Table.grid(padding=(0, 1))
    cell.add_row(ProgressBar(total=1.0, completed=row.share, width=BAR, complete_style="yellow"), row.words)
    return cell


def _shortened(rows: list[_Row], room: int) -> list[_Row]:
    """What is running or failed with the branches above it, and as much of the rest as there is room for."""
    important = [i for i, row in enumerate(rows) if row.status in ("running", "failed")]
    near = sorted(range(len(rows)), key=lambda i: min((abs(i - j) for j in important), default=i))
    kept = sorted(near[: room - 1])
    hidden = len(rows) - len(kept)
    return [*(rows[i] for i in kept), _Row("", f"… {hidden} more lines", "bright_black", "heading", Text())]


def _without_report(picture: Picture) -> Picture:
    return replace(picture, boxes=tuple(box for box in picture.boxes if box.id != REPORT_ID))


def _box_row(lead: str, box: Box, members: list[StageState], now: float) -> _Row:
    name = f"{box.title} {box.badge}".rstrip()
    status = next(status for status in ORDER if any(state.status == status for state in members))
    style = {"waiting": "bright_black", "cached": "bright_black", "failed": "red"}.get(status, "")
    if len(members) == 1:
        state = members[0]
        share = state.share if status == "running" else None
        return _Row(lead, name, style, status, _single_text(state, now), share)
    return _Row(lead, name, style, status, _summary_text(members))


def _member_name(state: StageState) -> str:
    """What distinguishes a member of a sweep."""
    return ", ".join(f"{key}={value}" if key else value for key, value in settings(state.stage.name).items())


def _single_text(state: StageState, now: float) -> Text:
    match state.status:
        case "running":
            return _running_text(state, now)
        case "done":
            return Text("  ".join(part for part in (duration_text(state.seconds), state.result) if part))
        case "cached":
            return Text("  ".join(part for part in ("cached", state.result) if part), style="bright_black")
        case "failed":
            return Text(state.result, style="red")
        case "skipped":
            return Text(state.result, style="bright_black")
    return Text()


def _running_text(state: StageState, now: float) -> Text:
    """`62%  ▇▅▃▂▁  0:07 left  12.3k rows/s  epoch 24.8  loss 1.23`."""
    if state.share is None:
        return Text(clock_text(now - state.started), style="yellow")
    curve = [state.curve] if state.losses else []
    parts = [f"{state.share:4.0%}", *curve, *progress_texts(state, now)]
    return Text("  ".join(parts))


def _summary_text(members: list[StageState]) -> Text:
    """How many members are done, in what time, and the range of what came out."""
    finished = [state for state in members if state.status in ("done", "cached")]
    executed = [state.seconds for state in members if state.status == "done"]
    text = Text(f"{len(finished)}/{len(members)}")
    if executed:
        text.append(f"  {duration_text(sum(executed) / len(executed))} each", style="cyan")
    if len(finished) == len(members):
        ends = (next((s.result for s in order if s.result), "") for order in (finished, reversed(finished)))
        shown = " … ".join(dict.fromkeys(end for end in ends if end))
        text.append(f"  {shown}" if shown else "")
    failed = [state for state in members if state.status == "failed"]
    if failed:
        text.append(f"  {failed[0].result}", style="red")
    return text
