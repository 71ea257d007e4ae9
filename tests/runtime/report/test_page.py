"""The report of a run."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.workflow import Claim, Ref
from etude.runtime.report import write_report
from etude.runtime.report.cache import drawn_once
from etude.runtime.report.curves import curves_png
from etude.runtime.report.markup import data_table, highlighted
from etude.runtime.report.numbers import mean_and_deviation, number_text, value_text
from etude.runtime.results import RunResult
from etude.runtime.store import Store

RECIPE = 'x = load("numbers.csv")  # <b>data</b>\nexpect mean(x) > 1 because "x & y"\n'
HISTORY = ["list", [["record", {"epoch": ["number", n], "loss": ["number", 1.0 / n]}] for n in (1, 2, 3)]]


@pytest.fixture
def result(sketch: Any, numbers: Path, runs: Callable[..., RunResult]) -> RunResult:
    """A run with a table, curves, a number, one claim that holds and one that fails."""
    data = sketch.load("numbers.csv", name="data")
    mean = sketch.measure(data, "x", name="mean")
    history = sketch.compute(HISTORY, name="history")
    rows = ["list", [["list", [["input", 0], ["text", f"r{n}"]]] for n in range(3)]]
    table = sketch.add("table", {"expression": rows, "columns": ["m", "who"]}, mean, name="report.scores")("table")
    series = [{"label": "a <curve>", "input": 0}, {"label": "b", "input": 0}]
    figure = sketch.add("plot", {"series": series, "y": ["loss"], "x": "epoch"}, history, name="report.curves")(
        "figure"
    )
    workflow = sketch.workflow
    for expression, text, because in [
        (["gt", ["input", 0], ["number", 1]], "mean(x) > 1", "x & y"),
        (["lt", ["input", 0], ["number", 1]], "mean(x) < 1", None),
    ]:
        spec = {"expression": expression, "shown": [["mean(x)", ["input", 0]]]}
        verdict = sketch.add("claim", spec, mean)("verdict")
        workflow.claims.append(Claim(verdict.stage, 2, text, because))
    workflow.report = [("scores", table), ("curves", figure), ("mean", mean)]
    workflow.params = {"share": 0.1}
    return runs(sketch)


@pytest.fixture
def page(result: RunResult) -> str:
    return write_report(result, RECIPE).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)))


def test_the_verdicts_come_first(page: str) -> None:
    text = text_of(page)
    assert text.index("1 claim holds") < text.index("1 claim fails") < text.index("Claims")


def test_each_claim_has_its_reason_its_values_and_its_verdict(page: str) -> None:
    assert page.count('class="claim is-holds"') == page.count('class="claim is-fails"') == 1
    assert "because x &amp; y" in page
    assert re.search(r"mean\(x\)\s+2\.25", text_of(page))


def test_results_are_shown_in_the_order_of_the_recipe(page: str) -> None:
    places = [page.index(f"<h3>{name}</h3>") for name in ("scores", "curves", "mean")]
    assert places == sorted(places)
    assert '<p class="metric">2.25</p>' in page


def test_a_table_has_mean_and_deviation_and_a_csv(page: str, result: RunResult) -> None:
    assert '<tr class="summary" title="mean">' in page
    with (result.folder / "report" / "scores.csv").open() as file:
        assert list(csv.reader(file)) == [["m", "who"], ["2.25", "r0"], ["2.25", "r1"], ["2.25", "r2"]]


def test_curves_are_pictures_inside_the_page_and_files_beside_it(page: str, result: RunResult) -> None:
    folder = result.folder / "report"
    assert page.count("data:image/png;base64,") == 2
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "curves.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["series", "column", "epoch", "value"]
    assert rows[1] == ["a <curve>", "loss", "1", "1.0"]
    assert len(rows) == 7


def test_a_grid_of_pictures_is_inside_the_page_and_a_file_beside_it(
    sketch: Any, numbers: Path, runs: Callable[..., RunResult], tmp_path: Path
) -> None:
    np.savez(tmp_path / "dots.npz", image=np.zeros((5, 8, 8), np.float32))
    data = sketch.load("dots.npz")
    figure = sketch.add("images", {"column": "image", "count": 4}, data, name="report.dots")("figure")
    sketch.workflow.report = [("dots", figure)]
    result = runs(sketch)
    page = write_report(result, RECIPE).read_text(encoding="utf-8")
    png = (result.folder / "report" / "dots.png").read_bytes()
    assert base64.b64encode(png).decode() in page
    assert 'alt="4 pictures of image"' in page


def test_the_workflow_is_drawn_with_the_verdicts(page: str, result: RunResult) -> None:
    assert "<svg" in page
    assert 'class="node box claim holds"' in page
    assert (result.folder / "report" / "graph.svg").read_text().startswith("<svg")


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    loaded = re.findall(r'<(?:script|link|img|source|iframe)[^>]*?(?:src|href|srcset)="([^"]*)"', page)
    assert loaded
    assert all(link.startswith("data:") for link in loaded)
    assert "@import" not in page
    assert not re.search(r"url\((?!data:|#)", page)


def test_everything_needed_to_make_it_again_is_there(page: str, result: RunResult) -> None:
    text = text_of(page)
    for fact in ("share", "0.1", "etude", "python", "processor", "seed", "torch", result.id):
        assert fact in text
    assert '<span class="comment"># &lt;b&gt;data&lt;/b&gt;</span>' in page
    assert "how it was made: 2 steps" in text
    assert "mean (measure)" in text


def test_stages_are_listed_with_what_happened_and_their_source(page: str, result: RunResult) -> None:
    assert re.search(r"<code>mean</code></td><td>measure</td><td>run</td>", page)
    link = re.search(r'href="(\.\./source/[^"]+)"', page)
    assert link
    assert (result.folder / "report" / link[1]).resolve().is_file()


def test_a_failed_stage_is_named_with_its_reason(sketch: Any, tmp_path: Path, runs: Callable[..., RunResult]) -> None:
    (tmp_path / "bad.csv").write_text("x\n" + "1\n" * 1100 + "oops\n")
    mean = sketch.measure(sketch.load("bad.csv", name="bad"), "x", name="mean")
    sketch.workflow.report = [("mean", mean)]
    page = write_report(runs(sketch), RECIPE).read_text()
    assert "1 stages failed" in page
    assert "bad.csv:1102" in page
    assert "needs bad, which failed" in text_of(page)


def test_without_matplotlib_the_points_are_still_there(
    result: RunResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    page = write_report(result, RECIPE).read_text()
    assert "curves need matplotlib" in page
    assert (result.folder / "report" / "curves.csv").exists()


def test_a_drawing_is_made_once(store: Store) -> None:
    drawn: list[int] = []

    def draw() -> dict[str, bytes]:
        drawn.append(1)
        return {"a": b"picture"}

    assert drawn_once(store, ["x", 1], draw) == drawn_once(store, ["x", 1], draw) == {"a": b"picture"}
    assert len(drawn) == 1
    drawn_once(store, ["x", 2], draw)
    assert len(drawn) == 2


def test_a_figure_without_points_is_drawn(store: Store) -> None:
    pngs = curves_png(store, {"series": [{"label": "a", "x": [], "y": []}], "x": "epoch", "y": ["loss"]})
    assert pngs is not None
    assert pngs.keys() == {"light", "dark"}


def test_a_recipe_is_highlighted_and_escaped() -> None:
    text = highlighted('fn f(x) = "a < # b" # c & d')
    assert '<span class="word">fn</span>' in text
    assert '<span class="string">&quot;a &lt; # b&quot;</span>' in text
    assert '<span class="comment"># c &amp; d</span>' in text


def test_numbers_are_short() -> None:
    assert [number_text(v) for v in (0.123456, 12345, None, float("nan"), "x")] == ["0.1235", "12,345", "-", "nan", "x"]
    assert value_text([0.5, 1.5]) == "0.5, 1.5 (mean 1)"
    assert mean_and_deviation([1.0, None]) is None
    assert mean_and_deviation([1.0, 2.0]) == ("1.5", "0.71")


def test_claims_that_depend_on_a_failure_say_why(sketch: Any, tmp_path: Path, runs: Callable[..., RunResult]) -> None:
    mean = sketch.measure(sketch.load("absent.csv", name="absent"), "x")
    sketch.claim(["gt", ["input", 0], ["number", 1]], mean)
    page = write_report(runs(sketch), RECIPE).read_text()
    assert 'class="claim is-unsure"' in page
    assert "1 claim undecided" in page


@pytest.mark.skipif(shutil.which("dot") is None, reason="compares with the program")
def test_a_report_is_written_without_dot(result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "<svg" in write_report(result, RECIPE).read_text()


def test_refs_that_have_no_value_are_said_to_have_none(result: RunResult) -> None:
    result.workflow.report.append(("nothing", Ref("s0", "absent")))
    assert "no value" in write_report(result, RECIPE).read_text()


def test_every_training_has_its_curves_speed_and_numbers(
    sketch: Any, numbers: Path, runs: Callable[..., RunResult], store: Store
) -> None:
    sketch.compute(HISTORY, name="x")
    result = runs(sketch)
    history = store.objects.put_json([{"step": 1, "epoch": 1.0, "loss": 2.0}, {"step": 2, "epoch": 2.0, "loss": 1.0}])
    made = {"steps": 2, "batch": 10, "training_seconds": 4.0}
    (id,) = result.stages
    trained = replace(result.stages[id], kind="train", outputs={"history": history}, made=made)
    page = write_report(replace(result, stages={id: trained}), RECIPE).read_text(encoding="utf-8")
    assert "<h2>Trainings</h2>" in page
    assert "2 steps in 4.0 s, 0.5 steps/s, 5 rows/s" in page
    assert 'aria-label="loss over epochs, from 1 to 2"' in page
    csv_file = result.folder / "report" / "history-x.csv"
    assert csv_file.read_text() == "stage,step,epoch,loss\nx,1,1.0,2.0\nx,2,2.0,1.0\n"


def test_of_a_training_that_failed_there_are_the_curves_so_far(
    sketch: Any, numbers: Path, runs: Callable[..., RunResult]
) -> None:
    sketch.compute(HISTORY, name="x")
    result = runs(sketch)
    (id,) = result.stages
    rows = [{"step": 1, "epoch": 1.0, "loss": 4.0}, {"step": 2, "epoch": 2.0, "loss": 9.0}]
    event = {"kind": "stage-progress", "time": 1.0, "stage": id, "name": "x", "history": rows}
    with (result.folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    failed = replace(result.stages[id], kind="train", action="failed", outputs={}, failure={"message": "no"})
    page = write_report(replace(result, stages={id: failed}), RECIPE).read_text(encoding="utf-8")
    assert 'aria-label="loss over epochs, from 4 to 9"' in page


def test_a_heat_map_is_a_picture_a_table_and_a_file(sketch: Any, runs: Callable[..., RunResult]) -> None:
    row = ["list", [["number", 1], ["number", 2]]]
    spec = {"expression": ["list", [row, row]], "rows": ["a", "b"], "columns": None, "x": "", "y": ""}
    figure = sketch.add("heatmap", spec, name="report.map")("figure")
    sketch.workflow.report = [("map", figure)]
    result = runs(sketch)
    page = write_report(result, RECIPE).read_text(encoding="utf-8")
    assert 'alt="heat map of 2 rows and 2 columns"' in page
    assert '<th scope="row">a</th>' in page
    assert (result.folder / "report" / "map.csv").read_text() == ",0,1\na,1,2\nb,1,2\n"
    assert (result.folder / "report" / "map.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_table_scrolls_in_a_box_of_its_own() -> None:
    def table(rows: int) -> str:
        return data_table({"columns": ["n"], "rows": [[n] for n in range(rows)]})

    assert 'class="scroll long"' in table(61)
    assert 'class="scroll"' in table(60)


def test_many_curves_are_drawn_with_their_names_beside(store: Store) -> None:
    series = [{"label": f"run {n}", "name": "loss", "x": [1, 2], "y": [n, n + 1]} for n in range(40)]
    drawn = curves_png(store, {"series": series, "x": "epoch", "y": ["loss"]})
    few = curves_png(store, {"series": series[:8], "x": "epoch", "y": ["loss"]})
    assert drawn is not None and few is not None
    width, narrower = (int.from_bytes(png["light"][16:20], "big") for png in (drawn, few))
    assert width > narrower
