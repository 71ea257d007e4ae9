"""What classifiers take the rows of each class for: a section of the page for the measures that a report rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import stem
from etude.compiler.workflow import Workflow
from etude.runtime.naming import shown_output
from etude.runtime.report.numbers import number_text
from etude.runtime.results import RunResult, StageResult
from etude.runtime.runs import file_names

Json = Any
PORT = "confusion"
THROUGH = frozenset({"claim", "compute", "table", "heatmap", "tensor"})  # what only combines what was measured
MOST_MEMBERS, MOST_SHOWN = 50, 8  # members of a sweep that are added up, and pictures on a page
HEADS = ("class", "rows", "precision", "recall", "F1")


@dataclass(frozen=True)
class Confusion:
    """How many rows of each class were taken for each, [label][prediction], by one measure or several alike."""

    names: tuple[str, ...]
    column: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        return sum(map(sum, self.counts))

    @property
    def right(self) -> int:
        return sum(self.counts[i][i] for i in range(len(self.counts)))

    def figure(self) -> Json:
        """The counts as `heatmap` has them."""
        values, names = [list(row) for row in self.counts], list(self.classes)
        return {"values": values, "rows": names, "columns": names, "x": "prediction", "y": self.column}

    def table(self) -> list[tuple[str, int, float | None, float | None, float | None]]:
        """Of each class its name, rows, precision, recall and F1; None where there is nothing to take a share of."""
        given = [sum(row) for row in self.counts]
        taken = [sum(column) for column in zip(*self.counts, strict=True)]
        right = [self.counts[i][i] for i in range(len(self.counts))]
        return [
            (name, rows, _share(hits, guesses), _share(hits, rows), _share(2 * hits, rows + guesses))
            for name, rows, guesses, hits in zip(self.classes, given, taken, right, strict=True)
        ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def confusions(stage: str, kept: Json) -> list[Confusion]:
    """What a stage kept, each comparison under the stage's name and its own."""
    return [
        Confusion(
            (f"{stage}.{each['of']}" if each["of"] else stage,),
            each["label"],
            tuple(each["classes"]),
            tuple(map(tuple, each["counts"])),
        )
        for each in kept
    ]


def shown_confusions(result: RunResult, classes: Mapping[str, str]) -> list[Confusion]:
    """Those behind claims, report and numbers; the members of a sweep added up, equal ones once.

    `classes` gives each stage the first that it is a repetition of.
    """
    groups: dict[str, list[StageResult]] = {}
    for id in measures_behind(result.workflow):
        stage = result.stages.get(id)
        if stage is not None and PORT in stage.outputs:
            groups.setdefault(classes[id], []).append(stage)
    merged: dict[Any, Confusion] = {}
    stems = [stem(members[0].name) for members in groups.values()]
    for members in groups.values():
        first = members[0].name
        name = first if len(members) == 1 or stems.count(stem(first)) > 1 else stem(first)
        for each in _added(name, members, result):
            known = merged.get((each.classes, each.counts))
            key = (each.classes, each.counts)
            merged[key] = replace(known, names=(*known.names, *each.names)) if known else each
    return list(merged.values())


def files_of(found: Sequence[Confusion]) -> list[str]:
    """What the files of each are called, no two alike."""
    names: list[str] = []
    for each in found:
        name = each.names[0].replace(f" {TIMES}", "-")
        while name in names:
            name += "+"
        names.append(name)
    return list(file_names(names).values())


def measures_behind(workflow: Workflow) -> list[str]:
    """The stages whose numbers claims, report and metrics show, as they are or combined, in the order of the recipe."""
    waiting = [claim.stage for claim in workflow.claims]
    waiting += [ref.stage for ref in (*(ref for _, ref in workflow.report), *workflow.metrics.values())]
    found: set[str] = set()
    while waiting:
        id = waiting.pop()
        if id not in found and id in workflow.stages:
            found.add(id)
            if workflow.stages[id].kind in THROUGH:
                waiting += [ref.stage for ref in workflow.stages[id].inputs]
    return [id for id, stage in workflow.stages.items() if id in found and stage.kind == "measure"]


def _added(name: str, members: Sequence[StageResult], result: RunResult) -> Iterator[Confusion]:
    """The counts of a sweep's members together, comparison by comparison; of many members, of the first."""
    taken = members[:MOST_MEMBERS]
    name = name if len(members) == 1 else f"{name} {TIMES}{len(taken)}"
    sums: dict[tuple[str, ...], Confusion] = {}
    for member in taken:
        for each in confusions(name, shown_output(PORT, result.store.read_json(member.outputs[PORT]), member.names)):
            key = (*each.names, each.column, *each.classes)
            sums[key] = replace(each, counts=_sum(sums[key].counts, each.counts)) if key in sums else each
    yield from sums.values()


def _sum(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(a, b, strict=True))


def summary_text(confusion: Confusion) -> str:
    """`330 of 360 rows right (0.9167)`."""
    share = number_text(confusion.right / confusion.rows)
    return f"{confusion.right:,} of {confusion.rows:,} rows right ({share})"


def class_rows(confusion: Confusion) -> list[list[Json]]:
    """The lines of a CSV file."""
    return [[head.lower() for head in HEADS], *map(list, confusion.table())]


def class_table(confusion: Confusion) -> str:
    """The table of the classes; below it all rows, and the mean of each share over the classes."""
    table = confusion.table()
    heads = "".join(f'<th scope="col"{_right(i)}>{head}</th>' for i, head in enumerate(HEADS))
    body = "".join(_row(name, [f"{rows:,}", *map(_share_cell, shares)]) for name, rows, *shares in table)
    means = [_mean(column) for column in zip(*(shares for _, _, *shares in table), strict=True)]
    foot = _row("all", [f"{confusion.rows:,}", *map(_share_cell, means)])
    return (
        f'<div class="scroll classes"><table class="close"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>"
    )


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _row(name: str, cells: Iterable[str]) -> str:
    texts = "".join(cell if cell.startswith("<") else f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{texts}</tr>'


def _share_cell(value: float | None) -> str:
    """A share with a bar behind it as long as it is large."""
    if value is None:
        return '<td class="number">-</td>'
    return f'<td class="number share" style="--share:{value:.1%}">{value:.3f}</td>'


def _right(place: int) -> str:
    return ' class="number"' if place else ""
