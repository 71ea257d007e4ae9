"""The picture of a workflow."""

from __future__ import annotations

from etude.compiler.draw.picture import TIMES, Box, Picture
from etude.compiler.draw.workflow import REPORT_ID, short_type, workflow_picture
from etude.compiler.workflow import Workflow


def boxes(picture: Picture) -> dict[str, Box]:
    return {box.id: box for box in picture.boxes}


def test_repeated_stages_are_one_box_and_their_frame_carries_the_badge(sweep: Workflow) -> None:
    picture = workflow_picture(sweep)
    teacher = next(box for box in picture.boxes if box.title == "teacher" and box.kind == "train")
    assert teacher.names == ("trials[seed=1].teacher", "trials[seed=2].teacher", "trials[seed=3].teacher")
    assert teacher.badge == ""
    assert [(frame.title, frame.badge) for frame in picture.frames] == [
        ("trials · seed 1…3", f"{TIMES}3"),
        ("scores · t 0…2", f"{TIMES}3"),
    ]


def test_expanded_every_stage_has_its_box(sweep: Workflow) -> None:
    picture = workflow_picture(sweep, expand=True)
    assert len(picture.boxes) == len(sweep.stages) + 1
    assert len([frame for frame in picture.frames if "trials" in frame.title]) == 3
    assert all(not box.badge for box in picture.boxes)


def test_arrows_carry_ports_and_types_once(sweep: Workflow) -> None:
    picture = workflow_picture(sweep)
    split = next(box for box in picture.boxes if box.title == "digits.split")
    leaving = [arrow for arrow in picture.arrows if arrow.source == split.id]
    assert {(arrow.label, arrow.type) for arrow in leaving} == {("train", "Dataset"), ("test", "Dataset")}
    assert all(arrow.count == 3 for arrow in leaving)
    assert split.ports == ("train", "test")


def test_claims_say_their_text_and_their_verdict(sweep: Workflow) -> None:
    claim = sweep.claims[0].stage
    box = boxes(workflow_picture(sweep, states={claim: "holds"}))[claim]
    assert box.title == "mean(scores.student) >= mean(scores.teacher) - 2%"
    assert box.note == "small is enough"
    assert box.state == "holds"


def test_what_the_report_shows_leads_into_one_sink(sweep: Workflow) -> None:
    picture = workflow_picture(sweep)
    assert boxes(picture)[REPORT_ID].note == "accuracy"
    assert [arrow.type for arrow in picture.arrows if arrow.target == REPORT_ID] == ["Table"]


def test_a_class_is_cached_when_all_its_stages_are(sweep: Workflow) -> None:
    teachers = [id for id, stage in sweep.stages.items() if stage.name.startswith("trials") and "teacher" in stage.name]
    some = boxes(workflow_picture(sweep, states={teachers[0]: "cached"}))[teachers[0]]
    every = boxes(workflow_picture(sweep, states=dict.fromkeys(teachers, "cached")))[teachers[0]]
    assert (some.state, every.state) == ("partly cached", "cached")


def test_a_loop_is_drawn_with_an_arrow_back(rounds: Workflow) -> None:
    picture = workflow_picture(rounds)
    back = [arrow for arrow in picture.arrows if arrow.is_feedback]
    assert {(arrow.source == arrow.target, arrow.type) for arrow in back} == {(True, "Model"), (False, "Model")}
    assert [box.badge for box in picture.boxes if box.title == "model"] == ["", f"{TIMES}3"]


def test_boxes_stand_in_topological_order(rounds: Workflow) -> None:
    picture = workflow_picture(rounds)
    order = {box.id: position for position, box in enumerate(picture.boxes)}
    assert all(order[a.source] < order[a.target] for a in picture.arrows if not a.is_feedback)


def test_a_frame_around_one_box_is_not_drawn(sweep: Workflow) -> None:
    lonely = Workflow(
        "x",
        {id: stage for id, stage in sweep.stages.items() if "student" not in stage.name and "scores" not in stage.name},
    )
    lonely.stages = {id: stage for id, stage in lonely.stages.items() if stage.kind in ("load", "split", "train")}
    picture = workflow_picture(lonely)
    assert picture.frames == ()
    assert [box.badge for box in picture.boxes if box.kind == "train"] == [f"{TIMES}3"]


def test_the_head_of_a_type_is_short() -> None:
    assert short_type("Dataset[{image: float32[8, 8, 1]}]") == "Dataset"
    assert short_type("Metric") == "Metric"
