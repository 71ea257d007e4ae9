"""What pictures are written as."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from etude.compiler.draw.dot import picture_to_dot, quote
from etude.compiler.draw.drawing import FORMATS, draw
from etude.compiler.draw.engine import DotFailedError, DotMissingError
from etude.compiler.draw.html import picture_to_html
from etude.compiler.draw.json import picture_to_json
from etude.compiler.draw.mermaid import picture_to_mermaid
from etude.compiler.draw.picture import TIMES, Arrow, Box, Picture
from etude.compiler.draw.svg import picture_to_svg
from etude.compiler.draw.tree import picture_to_tree
from etude.compiler.draw.workflow import workflow_picture
from etude.compiler.workflow import Workflow

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs the dot program")


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_json_has_the_documented_fields(sweep: Workflow) -> None:
    data = json.loads(draw(workflow_picture(sweep), "json"))
    assert {"id", "name", "kind", "label", "group"} <= data["nodes"][0].keys()
    assert {"from", "to", "type", "label"} <= data["edges"][0].keys()
    ids = {node["id"] for node in data["nodes"]}
    assert all(edge["from"] in ids and edge["to"] in ids for edge in data["edges"])


def test_json_says_what_a_node_stands_for(sweep: Workflow) -> None:
    nodes = picture_to_json(workflow_picture(sweep))["nodes"]
    teacher = next(node for node in nodes if node["name"] == "teacher" and node["kind"] == "train")
    assert teacher["count"] == 3
    assert teacher["group"] == ["trials"]
    assert nodes[0]["stages"] == ["digits"]


@needs_dot
def test_dot_accepts_what_is_written(sweep: Workflow, rounds: Workflow) -> None:
    for workflow in (sweep, rounds):
        svg = draw(workflow_picture(workflow, states={"s1": "cached"}), "svg").decode()
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "cached" in svg
        assert 'class="cluster frame group"' in svg
        assert 'class="node box train"' in svg


@needs_dot
@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_images_are_drawn(sweep: Workflow, format: str, start: bytes) -> None:
    assert draw(workflow_picture(sweep), format).startswith(start)


@needs_dot
def test_any_text_survives_quoting() -> None:
    nasty = 'a "quoted" <b> & \\n {x|y} \\ ä\nb'
    box = Box(id=nasty, title=nasty, kind="train", note=nasty, tip=nasty, ports=("a<b", 'c"d'))
    arrow = Arrow(source=nasty, target=nasty, type=nasty, label="a<b", is_feedback=True)
    root = ElementTree.fromstring(draw(Picture(title=nasty, boxes=(box,), arrows=(arrow,)), "svg"))
    text = "".join(root.itertext())
    assert "{x|y}" in text
    assert '"quoted"' in text


def test_dot_source_names_kinds_frames_and_ports(sweep: Workflow) -> None:
    text = picture_to_dot(workflow_picture(sweep))
    assert 'subgraph "cluster_trials"' in text
    assert '"s2":p0:s -> ' in text
    assert 'class="box claim"' in text
    assert quote('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_without_dot_images_say_what_to_do(sweep: Workflow, without_dot: None) -> None:
    with pytest.raises(DotMissingError, match=r"hint: install graphviz .*or write \.svg, \.html"):
        draw(workflow_picture(sweep), "png")


@pytest.mark.parametrize("format", [each for each in FORMATS if each not in ("png", "pdf")])
def test_all_other_formats_need_no_dot(rounds: Workflow, without_dot: None, format: str) -> None:
    assert draw(workflow_picture(rounds), format)


BROKEN = {
    "fails": ("echo 'Layout type not recognized' >&2; exit 1", "Layout type not recognized"),
    "says nothing": ("cat > /dev/null", "it wrote nothing"),
    "dies": ("kill -9 $$", "died"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_dot_is_told_in_a_sentence_and_an_svg_is_drawn_without_it(
    sweep: Workflow, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, words = BROKEN[how]
    (tmp_path / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(DotFailedError, match=f"(?s){words}.*hint: `dot -V`"):
        draw(workflow_picture(sweep), "png")
    assert draw(workflow_picture(sweep), "svg").decode() == picture_to_svg(workflow_picture(sweep))


def test_own_svg_is_well_formed_and_has_every_box(sweep: Workflow, rounds: Workflow) -> None:
    for workflow in (sweep, rounds):
        picture = workflow_picture(workflow)
        root = ElementTree.fromstring(picture_to_svg(picture))
        classes = [element.get("class", "") for element in root.iter()]
        assert sum(text.startswith("node box") for text in classes) == len(picture.boxes)
        assert sum(text.startswith("cluster") for text in classes) == len(picture.frames)
        assert sum(text == "edge" for text in classes) == len(picture.arrows)


def test_a_page_needs_nothing_from_outside(sweep: Workflow) -> None:
    text = picture_to_html(workflow_picture(sweep))
    assert "<svg" in text
    links = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', text)
    assert [link for link in links if link.startswith(("http", "//")) and "w3.org" not in link] == []
    assert "prefers-color-scheme: dark" in text
    assert "training" in text


def test_mermaid_opens_and_closes_every_subgraph(sweep: Workflow) -> None:
    picture = workflow_picture(sweep)
    lines = [line.strip() for line in picture_to_mermaid(picture).splitlines()]
    assert lines[0] in ("flowchart TB", "flowchart LR")
    assert sum(line.startswith("subgraph") for line in lines) == sum(line == "end" for line in lines) == 2
    assert sum(bool(re.match(r"n\d+ (-->|==>|-\.->)", line)) for line in lines) == len(picture.arrows)


def test_mermaid_text_cannot_break_out() -> None:
    box = Box(id="a", title='x"] --> evil', kind="train", note="<script>")
    text = picture_to_mermaid(Picture(title="", boxes=(box,), arrows=()))
    assert '"] --> evil' not in text
    assert "<script>" not in text


def test_the_tree_shows_branches_inputs_and_states(sweep: Workflow) -> None:
    text = picture_to_tree(workflow_picture(sweep, states={"s1": "cached"}))
    lines = text.splitlines()
    assert lines[0] == "sketch"
    assert re.fullmatch(r"├─ digits +load · sklearn:digits +cached", lines[1])
    assert f"├─ trials · seed 1…3 {TIMES}3" in lines
    assert any(
        re.fullmatch(r"│  └─ student +train · net · 20 epochs +<- digits\.split\.train, teacher", x) for x in lines
    )
    assert lines[-1].startswith("└─ report")


def test_the_tree_is_coloured_only_when_asked(sweep: Workflow) -> None:
    from etude.compiler.render.ansi import Paint

    plain, coloured = (picture_to_tree(workflow_picture(sweep), Paint(on)) for on in (False, True))
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_long_pictures_run_down_and_broad_ones_across(chain: Callable[[int], Workflow]) -> None:
    assert not workflow_picture(chain(12)).is_wide or workflow_picture(chain(2)).is_wide
    assert Picture(title="", boxes=(), arrows=()).is_wide


def test_an_unknown_format_is_a_mistake_of_the_caller(sweep: Workflow) -> None:
    with pytest.raises(ValueError, match="no drawing is written as 'gif'"):
        draw(workflow_picture(sweep), "gif")


def test_colours_and_lines_are_told_below_the_picture(sweep: Workflow, rounds: Workflow) -> None:
    text = picture_to_dot(workflow_picture(sweep), legend=True).splitlines()[-2]
    assert "labelloc=b" in text and text.count("\u25a0") == len({"load", "data", "train", "measure", "report", "claim"})
    assert [word for word in ("dataset", "model", "metric") if f">{word}<" in text] == ["dataset", "model", "metric"]
    assert "from the round before" not in text
    below = picture_to_dot(workflow_picture(rounds), legend=True).splitlines()[-2]
    assert "from the round before" in below
    assert "labelloc" not in picture_to_dot(workflow_picture(rounds))


def test_what_flows_is_told_by_colour_where_it_has_one() -> None:
    boxes = tuple(Box(id=id, title=id, kind="map") for id in "ab")
    arrows = (Arrow(source="a", target="b", type="Dataset"), Arrow(source="a", target="b", type="Something"))
    lines = [
        line for line in picture_to_dot(Picture(title="", boxes=boxes, arrows=arrows)).splitlines() if "->" in line
    ]
    assert "label=<" not in lines[0] and 'color="#7d9bb8"' in lines[0] and 'tooltip="Dataset"' in lines[0]
    assert "label=<" in lines[1] and ">Something<" in lines[1]
