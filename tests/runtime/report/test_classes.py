"""The section of the report that tells of classes."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import precision_recall_fscore_support

from etude.compiler.draw.picture import TIMES
from etude.runtime.compiling import compile_text
from etude.runtime.report import write_report
from etude.runtime.report.classes import Confusion, class_table, confusions, files_of, measures_behind, summary_text
from etude.runtime.report.matrices import matrix_svg
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store

COUNTS = ((8, 2, 0), (1, 4, 0), (0, 0, 0))
KINDS = Confusion(("acc",), "kind", ("cat", "dog", "<emu>"), COUNTS)
RECIPE = """
d = load("synthetic:blobs", n = 60, classes = 3)
few = d |> sample(30examples)
fn of(k, on = d) = measure(on = on, ({features, label}) => int(features[0] > k) == label)
shares = [of(k) for k in [0.0, 0.5]]
again = measure(on = d, ({features, label}) => float(int(features[0] > 0.25) == label))
same = measure(on = d, ({features, label}) => {right: int(features[0] > 0.25) == label})
unseen = [measure(on = d, ({features, label}) => int(features[1] > k) == label) for k in [1.0, 2.0]]
expect mean(shares) > 2.0
expect mean([of(k) for k in [0.1, 0.2]]) > mean([of(k, on = few) for k in [0.1, 0.2]])
report { both = table([{a: again, b: same.right}]) }
"""


@pytest.fixture
def result(store: Store, tmp_path: Path) -> RunResult:
    compilation = compile_text(RECIPE, "test.etude", tmp_path)
    assert compilation.workflow is not None, compilation.diagnostics
    return run(compilation.workflow, store=store, base=tmp_path, backend="torch", jobs=1)


def test_precision_recall_and_f1_are_those_of_scikit_learn() -> None:
    pairs = [(i, j) for i, row in enumerate(COUNTS) for j, count in enumerate(row) for _ in range(count)]
    labels, guesses = zip(*pairs, strict=True)
    expected = precision_recall_fscore_support(labels, guesses, labels=[0, 1, 2], zero_division=0)
    for found, want in zip(list(zip(*KINDS.table(), strict=True))[2:], expected[:3], strict=True):
        assert [value or 0.0 for value in found] == pytest.approx(list(want))
    assert [row[1] for row in KINDS.table()] == [10, 5, 0]
    assert KINDS.table()[2][2:] == (None, None, None)
    assert summary_text(KINDS) == "12 of 15 rows right (0.8)"


def test_a_table_has_a_row_for_each_class_and_one_for_all() -> None:
    html = class_table(KINDS)
    assert html.count("<tr>") == 1 + 3 + 1
    assert "&lt;emu&gt;" in html and "<emu>" not in html
    assert '<th scope="row">all</th><td class="number">15</td>' in html


def test_a_matrix_says_in_words_what_each_cell_is() -> None:
    svg = matrix_svg(KINDS)
    assert "<title>2 of 10 cat taken for dog</title>" in svg
    assert svg.count("<title>") == 4
    assert ">prediction</text>" in svg and ">kind</text>" in svg


def test_a_matrix_of_many_classes_has_colours_only_and_some_of_the_names() -> None:
    names = tuple(f"a class with a long name {i}" for i in range(100))
    counts = tuple(tuple(int(i == j) for j in range(100)) for i in range(100))
    svg = matrix_svg(Confusion(("m",), "label", names, counts))
    assert svg.count("<title>") == 100
    assert ">1</text>" not in svg
    assert svg.count("<text") == 2 * 34 + 2


def test_what_claims_and_report_rest_on_is_shown_once_and_sweeps_together(result: RunResult) -> None:
    behind = [result.workflow.stages[id].name for id in measures_behind(result.workflow)]
    assert {"again", "same", "shares[k=0.5]", "shares[k=0]"} < set(behind)
    assert len(behind) == 8
    page = write_report(result, RECIPE).read_text(encoding="utf-8")
    assert f"<h3>shares {TIMES}2</h3>" in page
    assert "of 120 rows right" in page
    assert "<h3>again, same.right</h3>" in page
    assert "<h3>unseen" not in page
    assert page.count('<svg class="matrix"') == 4 == len(set(re.findall("<h3>[^<]*", page)) - {"<h3>both"})


def test_tables_are_files_beside_the_page(result: RunResult) -> None:
    folder = write_report(result, RECIPE).parent
    with (folder / "classes-again.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["class", "rows", "precision", "recall", "f1"]
    assert [row[0] for row in rows[1:]] == ["0", "1", "2"]
    assert (folder / "classes-shares-2.csv").exists()
    assert (folder / "confusion-again.csv").read_text().startswith("label/prediction,0,1,2\n")


def test_results_that_were_stored_without_counts_have_no_section(sketch: Any, runs: Callable[..., RunResult]) -> None:
    mean = sketch.compute(["number", 0.5], name="x")
    sketch.workflow.report = [("x", mean)]
    assert "<h2>Classes</h2>" not in write_report(runs(sketch), "x = 1").read_text(encoding="utf-8")


def test_a_comparison_is_called_by_its_measure_and_its_own_name() -> None:
    kept = [{"of": of, "label": "y", "classes": ["a", "b"], "counts": [[1, 0], [0, 1]]} for of in ("", "top")]
    assert [each.names for each in confusions("m", kept)] == [("m",), ("m.top",)]


def test_files_of_equal_names_are_told_apart() -> None:
    assert files_of([KINDS, KINDS, replace(KINDS, names=("acc-2",))]) == ["acc", "acc+", "acc-2"]
