"""Small charts of histories."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from etude.runtime.report.panels import panel_svg, panels_html, panels_of
from etude.runtime.report.spreadsheets import histories_csv

HISTORY = [
    {"step": 5 * n, "epoch": float(n), "loss": 1.0 / n, "part": 0.5, "lr": 0.1, "valid.loss": 2.0 / n, "valid.score": n}
    for n in (1, 2, 4)
]


def test_every_term_has_a_panel_with_training_and_validation() -> None:
    panels = panels_of([HISTORY])
    assert [panel.term for panel in panels] == ["loss", "part", "score"]
    assert panels[0].train == [[(1.0, 1.0), (2.0, 0.5), (4.0, 0.25)]]
    assert panels[0].valid == [[(1.0, 2.0), (2.0, 1.0), (4.0, 0.5)]]
    assert (panels[1].valid, panels[2].train) == ([], [])


def test_the_members_of_a_sweep_share_a_panel() -> None:
    (loss, *_) = panels_of([HISTORY, HISTORY[:1], []])
    assert [len(line) for line in loss.train] == [3, 1]
    drawn = panel_svg(loss)
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 2


def test_a_panel_is_xml_with_its_bounds_and_a_description() -> None:
    drawn = panel_svg(panels_of([HISTORY])[0])
    svg = ElementTree.fromstring(drawn)
    assert svg.get("aria-label") == "loss over epochs, from 0.25 to 2"
    assert [text.text for text in svg.iter("text")] == ["2", "0.25", "1", "4", "epoch"]
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", drawn)]
    assert all(0 <= x <= 280 and 0 <= y <= 150 for x, y in points)


def test_a_constant_term_is_drawn_between_bounds() -> None:
    svg = ElementTree.fromstring(panel_svg(panels_of([HISTORY])[1]))
    assert [text.text for text in svg.iter("text")][:2] == ["0.55", "0.45"]


def test_long_histories_are_thinned_and_keep_their_last_point() -> None:
    rows = [{"step": n, "epoch": n / 10, "loss": float(n)} for n in range(3001)]
    for members in (1, 10, 100):
        (panel,) = panels_of([rows] * members)
        assert len(panel.points) <= max(1200 + members, 25 * members)
        assert {line[-1] for line in panel.train} == {(300.0, 3000.0)}


def test_without_validation_the_key_does_not_speak_of_it() -> None:
    assert "validation" not in panels_html(panels_of([[{"epoch": 1.0, "loss": 1.0}]]))
    assert panels_of([[{"epoch": 1.0, "loss": None}]]) == []


def test_histories_are_one_file_with_the_names_of_their_stages() -> None:
    lines = histories_csv({"a": HISTORY[:1], "b": [{"step": 1, "epoch": 1.0, "loss": 3.0}]}).splitlines()
    assert lines == [
        "stage,step,epoch,loss,part,lr,valid.loss,valid.score",
        "a,5,1.0,1.0,0.5,0.1,2.0,1",
        "b,1,1.0,3.0,,,,",
    ]
