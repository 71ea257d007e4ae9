"""Put the report together: `index.html`, `graph.svg`, and each table and figure as files."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path, PurePath
from typing import Any

from etude.compiler.draw.dot import picture_to_dot
from etude.compiler.draw.engine import DotError, picture_to_inline_svg
from etude.compiler.draw.html import dark_style
from etude.compiler.draw.legend import legend_to_html
from etude.compiler.draw.picture import TIMES, Picture
from etude.compiler.draw.repeats import repeat_classes, stem
from etude.compiler.draw.svg import picture_to_svg
from etude.compiler.draw.workflow import workflow_picture
from etude.compiler.workflow import Ref
from etude.runtime.histories import History, histories_told
from etude.runtime.naming import shown_output
from etude.runtime.progress.durations import duration_text, speed_text
from etude.runtime.report import markup
from etude.runtime.report.cache import drawn_once
from etude.runtime.report.classes import MOST_SHOWN, class_table, files_of, shown_confusions, summary_text
from etude.runtime.report.curves import curves_png
from etude.runtime.report.heatmaps import heatmap_png, heatmap_table
from etude.runtime.report.matrices import matrix_svg
from etude.runtime.report.numbers import number_text
from etude.runtime.report.panels import panels_html, panels_of
from etude.runtime.report.provenance import Provenance, environment
from etude.runtime.report.spreadsheets import classes_csv, figure_csv, heatmap_csv, histories_csv, table_csv
from etude.runtime.results import RunResult, StageResult
from etude.runtime.runs import file_names
from etude.runtime.store.files import make_folder, replace_file

Json = Any
STYLE = Path(__file__).with_name("style.css")
MOST_TRAININGS, MOST_MEMBERS = 24, 50  # kinds of trainings with charts, and lines in one
SHARPNESS = 1.35  # pixels of a heat map's picture for one of the page


def write_page(result: RunResult, recipe_text: str) -> Path:
    """Write everything below `report/` in the run's folder; the path of the page."""
    folder = result.folder / "report"
    make_folder(folder, exist_ok=True)
    page = folder / "index.html"
    replace_file(page, Page(result, recipe_text, folder).html().encode(), result.store.scratch)
    return page


@dataclass(frozen=True)
class Page:
    """The parts of the page, in order."""

    result: RunResult
    recipe_text: str
    folder: Path

    @cached_property
    def classes(self) -> Mapping[str, str]:
        return repeat_classes(self.result.workflow)

    @cached_property
    def picture(self) -> Picture:
        return workflow_picture(self.result.workflow, states=self._states(), classes=self.classes)

    @cached_property
    def provenance(self) -> Provenance:
        return Provenance(self.result.workflow, self.picture, self.classes)

    @cached_property
    def file_names(self) -> Mapping[str, str]:
        return file_names(stage.name for stage in self.result.stages.values())

    def html(self) -> str:
        title = PurePath(self.result.workflow.recipe).stem
        parts = [self._head(title), *self._claims(), *self._results(), *self._classes(), *self._trainings()]
        parts += [*self._graph(), *self._stages(), *self._recipe(), *self._environment()]
        return (
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
            f"<style>\n{STYLE.read_text(encoding='utf-8')}\n{dark_style(self.picture)}\n</style>\n"
            f"<main>\n{''.join(parts)}</main>\n</html>\n"
        )

    def _states(self) -> dict[str, str]:
        """How claims fell and what failed."""
        workflow = self.result.workflow
        found = {
            claim.stage: verdict.verdict for claim, verdict in zip(workflow.claims, self.result.claims, strict=True)
        }
        return found | {stage.id: "failed" for stage in self.result.failed}

    def _head(self, title: str) -> str:
        result, counts = self.result, self.result.counts()
        started = datetime.datetime.fromtimestamp(result.started).astimezone()
        facts = [
            f"run {result.id}",
            f"{started:%d %B %Y, %H:%M %Z}",
            f"{result.settings.backend} on {result.target}",
            f"{counts['executed']} stages run, {counts['cached']} found in the store",
            duration_text(result.seconds),
        ]
        lead = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
        verdicts = [claim.verdict for claim in result.claims]
        pills = [
            markup.verdict_pill(verdict, f"{verdicts.count(verdict)} {_verb(verdict, verdicts.count(verdict))}")
            for verdict in ("holds", "fails", "cannot tell")
            if verdict in verdicts
        ]
        if result.failed:
            pills.append(f'<span class="pill fails">{len(result.failed)} stages failed</span>')
        return f'<h1>{escape(title)}</h1><p class="lead">{lead}</p><div class="verdicts">{"".join(pills)}</div>\n'

    def _claims(self) -> Iterator[str]:
        if self.result.claims:
            yield "<h2>Claims</h2>\n"
        for claim, judged in zip(self.result.workflow.claims, self.result.claims, strict=True):
            yield markup.claim_card(judged, self._made(claim.stage))

    def _made(self, stage: str) -> str:
        lines = self.provenance.behind(stage)
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        return (
            f"<details><summary>how it was made: {len(lines)} steps</summary><ol>{items}</ol></details>"
            if lines
            else ""
        )

    def _results(self) -> Iterator[str]:
        report = self.result.workflow.report
        if report:
            yield "<h2>Results</h2>\n"
        files = file_names(name for name, _ in report)
        for name, ref in report:
            yield f"<h3>{escape(name)}</h3>\n{self._entry(files[name], ref)}{self._made(ref.stage)}\n"

    def _entry(self, file: str, ref: Ref) -> str:
        value = self.result.value(ref)
        if value is None:
            failure = self.result.stages[ref.stage].failure if ref.stage in self.result.stages else None
            return f'<p class="failed-text">{escape((failure or {"message": "no value"})["message"])}</p>'
        match self.result.workflow.stages[ref.stage].kind:
            case "table":
                return markup.data_table(value) + self._files({f"{file}.csv": table_csv(value)})
            case "plot":
                return self._figure(file, value)
            case "heatmap":
                return self._heatmap(file, value)
            case "images":
                return self._pictures(file, value)
        return f'<p class="metric">{escape(number_text(value))}</p>'

    def _figure(self, file: str, figure: Json) -> str:
        files: dict[str, str | bytes] = {f"{file}.csv": figure_csv(figure)}
        pngs = curves_png(self.result.store, figure)
        if pngs is None:
            return '<p class="faint">curves need matplotlib; the points are in the file</p>' + self._files(files)
        files[f"{file}.png"] = pngs["light"]
        names = ", ".join(series["label"] for series in figure["series"])
        return f"<figure>{markup.picture(pngs, names)}</figure>{self._files(files)}"

    def _heatmap(self, file: str, figure: Json) -> str:
        if not figure["values"]:
            return '<p class="faint">nothing was measured</p>'
        files: dict[str, str | bytes] = {f"{file}.csv": heatmap_csv(figure)}
        pngs = heatmap_png(self.result.store, figure)
        picture = ""
        if pngs is not None:
            files[f"{file}.png"] = pngs["light"]
            alt = f"heat map of {len(figure['rows'])} rows and {len(figure['columns'])} columns"
            picture = f'<figure class="heatmap">{markup.picture(pngs, alt, scale=SHARPNESS)}</figure>'
        return picture + self._files(files) + heatmap_table(figure)

    def _pictures(self, file: str, figure: Json) -> str:
        if figure["picture"] is None:
            return '<p class="faint">no rows, no pictures</p>'
        png = self.result.store.objects.read(figure["picture"])
        alt = f"{figure['count']} pictures of {figure['column']}"
        return f'<figure class="pictures">{markup.image(png, alt)}</figure>{self._files({f"{file}.png": png})}'

    def _files(self, files: Mapping[str, str | bytes]) -> str:
        """Write files beside the page, and link to them."""
        links = []
        for name, data in files.items():
            data = data if isinstance(data, bytes) else data.encode()
            replace_file(self.folder / name, data, self.result.store.scratch)
            links.append(f'<a href="{escape(name)}">{escape(name)}</a>')
        return f'<p class="files">{" · ".join(links)}</p>'

    def _classes(self) -> Iterator[str]:
        """What classifiers take rows of each class for; a matrix that the recipe itself shows is not shown again."""
        found = shown_confusions(self.result, self.classes)[:MOST_SHOWN]
        drawn = [self.result.value(ref) for _, ref in self.result.workflow.report if ref.port == "figure"]
        matrices = [figure.get("values") for figure in drawn if figure]
        if found:
            yield "<h2>Classes</h2>\n"
        for each, file in zip(found, files_of(found), strict=True):
            figure = each.figure()
            table = class_table(each) + self._files({f"classes-{file}.csv": classes_csv(each)})
            matrix = ""
            if figure["values"] not in matrices:
                matrix = matrix_svg(each) + self._files({f"confusion-{file}.csv": heatmap_csv(figure)})
            yield (
                f'<h3>{escape(", ".join(each.names))}</h3><p class="speed">{escape(summary_text(each))}</p>'
                f'<div class="beside"><div>{matrix}</div><div>{table}</div></div>\n'
            )

    def _trainings(self) -> Iterator[str]:
        """How each training went, the members of a sweep together."""
        groups: dict[str, list[StageResult]] = {}
        for stage in self.result.stages.values():
            if stage.kind == "train" and ("history" in stage.outputs or self._told.get(stage.name)):
                groups.setdefault(self.classes[stage.id], []).append(stage)
        shown = [text for members in list(groups.values())[:MOST_TRAININGS] if (text := self._training(members))]
        if shown:
            yield "<h2>Trainings</h2>\n"
        yield from shown
        if len(groups) > MOST_TRAININGS:
            yield f'<p class="faint">and {len(groups) - MOST_TRAININGS} more: `etude show` tells of each</p>'

    def _history(self, stage: StageResult) -> History:
        """The history of a training; of one that failed, what it told before."""
        if "history" in stage.outputs:
            value = self.result.store.read_json(stage.outputs["history"])
            history: History = shown_output("history", value, stage.names)
            return history
        return self._told.get(stage.name, [])

    @cached_property
    def _told(self) -> Mapping[str, History]:
        return histories_told(self.result.folder / "events.jsonl")

    def _training(self, members: list[StageResult]) -> str:
        """The curves of some trainings; nothing where none has told anything."""
        found = {member.name: self._history(member) for member in members[:MOST_MEMBERS]}
        histories = {name: history for name, history in found.items() if history}
        if not histories:
            return ""
        name = members[0].name if len(members) == 1 else f"{stem(members[0].name)} {TIMES}{len(members)}"
        speed = speed_text(members[0].made) + (" each" if len(members) > 1 else "")
        files = self._files({f"history-{self.file_names[members[0].name]}.csv": histories_csv(histories)})
        panels = panels_html(panels_of(list(histories.values())))
        return f'<h3>{escape(name)}</h3><p class="speed">{escape(speed)}</p>{panels}{files}\n'

    def _graph(self) -> Iterator[str]:
        svg = self._drawing()
        links = self._files({"graph.svg": svg})
        colours = legend_to_html(self.picture)
        yield "<h2>Workflow</h2>\n"
        yield f'<div class="graph"><div class="legend">{colours}</div>{svg.decode()}</div>{links}\n'

    def _drawing(self) -> bytes:
        """The workflow as an SVG, by Graphviz where it works, else plainly; only the former is worth keeping."""
        store, subject = self.result.store, ["graph", picture_to_dot(self.picture)]
        try:
            drawn = drawn_once(store, subject, lambda: {"svg": picture_to_inline_svg(self.picture).encode()})
        except DotError:
            return picture_to_svg(self.picture).encode()
        return drawn["svg"]

    def _stages(self) -> Iterator[str]:
        yield "<h2>Stages</h2>\n"
        groups: dict[tuple[str, str], list[StageResult]] = {}
        for stage in self.result.stages.values():
            groups.setdefault((self.classes[stage.id], stage.action), []).append(stage)
        rows = [self._stage_row(members) for members in groups.values()]
        yield markup.plain_table(("stage", "kind", "what happened", "time", "size", "program"), rows)

    def _stage_row(self, members: list[StageResult]) -> list[str]:
        first = members[0]
        name = escape(first.name) if len(members) == 1 else f"{escape(stem(first.name))} {TIMES}{len(members)}"
        total = sum(stage.seconds for stage in members)
        action = {"run": "run", "cached": "found in the store"}.get(first.action, first.action)
        if first.reason:
            action = f"{escape(first.action)}: {escape(first.reason)}"
        elif first.failure:
            action = f'<span class="failed-text">{escape(first.action)}: {escape(str(first.failure["message"]))}</span>'
        size = [f"{first.made[key]:,} {key}" for key in ("rows", "steps") if isinstance(first.made.get(key), int)]
        return [f"<code>{name}</code>", first.kind, action, duration_text(total), ", ".join(size), self._source(first)]

    def _source(self, stage: StageResult) -> str:
        """A link to the generated Python, where there is some."""
        path = self.result.folder / "source" / f"{self.file_names[stage.name]}.py"
        return f'<a href="../source/{escape(path.name)}">source</a>' if path.exists() else ""

    def _recipe(self) -> Iterator[str]:
        yield "<h2>Recipe</h2>\n"
        params = {name: str(value) for name, value in self.result.workflow.params.items()}
        if params:
            yield markup.definitions(params) + "<br>"
        yield markup.highlighted(self.recipe_text) + "\n"

    def _environment(self) -> Iterator[str]:
        yield "<h2>Made with</h2>\n"
        yield markup.definitions(environment(self.result))
        if self.result.models:
            yield "<h3>Models</h3>\n"
            yield markup.definitions(
                {name: f"{m['path']} ({m['hash'][:12]})" for name, m in self.result.models.items()}
            )


def _verb(verdict: str, count: int) -> str:
    one, many = {"holds": ("claim holds", "claims hold"), "fails": ("claim fails", "claims fail")}.get(
        verdict, ("claim undecided", "claims undecided")
    )
    return one if count == 1 else many
