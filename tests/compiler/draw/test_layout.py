"""The layout without Graphviz: nothing overlaps that should not."""

from __future__ import annotations

import itertools

from etude.compiler.draw.layout import Area, Layout, Size, lay_out
from etude.compiler.draw.picture import Picture
from etude.compiler.draw.workflow import workflow_picture
from etude.compiler.workflow import Workflow


def laid_out(workflow: Workflow) -> tuple[Picture, Layout]:
    picture = workflow_picture(workflow)
    return picture, lay_out(picture, {box.id: Size(100.0, 40.0) for box in picture.boxes})


def overlap(a: Area, b: Area) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def contains(outer: Area, inner: Area) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def test_boxes_do_not_overlap(sweep: Workflow, rounds: Workflow) -> None:
    for workflow in (sweep, rounds):
        _, layout = laid_out(workflow)
        assert not any(overlap(a, b) for a, b in itertools.combinations(layout.boxes.values(), 2))


def test_frames_hold_their_boxes_and_no_others(sweep: Workflow) -> None:
    picture, layout = laid_out(sweep)
    for path, area in layout.frames.items():
        for box in picture.boxes:
            inside = box.frame[: len(path)] == path
            assert contains(area, layout.boxes[box.id]) if inside else not overlap(area, layout.boxes[box.id])


def test_arrows_run_from_left_to_right_past_other_boxes(sweep: Workflow) -> None:
    picture, layout = laid_out(sweep)
    for arrow in picture.arrows:
        stops = [layout.boxes[arrow.source], *layout.bends[arrow], layout.boxes[arrow.target]]
        assert all(a.x + a.width <= b.x for a, b in itertools.pairwise(stops))
        for bend in layout.bends[arrow]:
            assert not any(overlap(bend, box) for box in layout.boxes.values())


def test_everything_is_on_the_page(sweep: Workflow, rounds: Workflow) -> None:
    for workflow in (sweep, rounds):
        _, layout = laid_out(workflow)
        page = Area(0, 0, layout.width, layout.height)
        assert all(contains(page, area) for area in (*layout.boxes.values(), *layout.frames.values()))
