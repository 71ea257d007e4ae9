"""The picture of what a stage computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Literal, Module, Slot, StageProgram, Sub
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.compiler.draw.dot import picture_to_dot
from etude.compiler.draw.labels import count_text, type_text
from etude.compiler.draw.listing import list_program
from etude.compiler.draw.picture import TIMES, Picture
from etude.compiler.draw.step import NoProgramError, module_slots, parameter_count, step_picture
from etude.compiler.workflow import Stage
from etude.runtime.compiling import compile_text

IMAGE, FEATURES = TensorType("float32", (b, 64)), TensorType("float32", (b, 32))
SCALAR = TensorType("float32")


def linear(inputs: int, outputs: int) -> Sub:
    build = Builder("linear")
    x = build.input("x", TensorType("float32", (b, inputs)))
    w = build.weight(Slot("w", TensorType("float32", (inputs, outputs)), (("kind", "lecun_normal"),)))
    (y,) = build.append("matmul", [x, w], {}, [TensorType("float32", (b, outputs))])
    return build.build([("", y)])


def encoder(blocks: int) -> Sub:
    """One layer, then so many equal ones."""
    build = Builder("encoder")
    h = build.input("x", IMAGE)
    block = linear(32, 32)
    build.children = [Child("embed", linear(64, 32)), *(Child(f"blocks.{i}", block) for i in range(blocks))]
    for index in range(blocks + 1):
        (h,) = build.call(index, [h], [FEATURES])
    return build.build([("", h)])


def module_of(sub: Sub, counter: list[int]) -> Module:
    own = tuple(range(counter[0], counter[0] + len(sub.slots)))
    counter[0] += len(sub.slots)
    return Module(own, tuple(module_of(child.sub, counter) for child in sub.children))


def distillation() -> StageProgram:
    """A student that learns from a frozen teacher of the same kind, by the squared difference over two."""
    build = Builder("loss")
    x = build.input("image", IMAGE)
    model = encoder(3)
    build.children = [Child("student", model), Child("teacher", model)]
    (student,) = build.call(0, [x], [FEATURES])
    (teacher,) = build.call(1, [x], [FEATURES])
    (difference,) = build.append("sub", [student, teacher], {}, [FEATURES])
    (halved,) = build.append("div", [difference, Literal(2.0)], {}, [FEATURES])
    (loss,) = build.append("mean", [halved], {"axis": None}, [SCALAR])
    sub = build.build([("kd", loss)])
    counter = [0]
    return StageProgram(sub, tuple(module_of(child.sub, counter) for child in sub.children))


def train_stage(program: StageProgram, update: list[int]) -> Stage:
    optimizer = {"name": "adamw", "lr": 1e-3}
    step = {"loss": program_to_json(program), "update": update, "optimizer": optimizer, "every": 1}
    return Stage("s1", "student", "train", {"steps": [step]}, (), {"0": "Model"})


@pytest.fixture
def picture() -> Picture:
    program = distillation()
    return step_picture(train_stage(program, list(module_slots(program.modules[0]))))


def test_who_learns_and_who_is_frozen_can_be_seen(picture: Picture) -> None:
    assert [(frame.title, frame.kind) for frame in picture.frames] == [("student", "learns"), ("teacher", "frozen")]
    assert [box.state for box in picture.boxes if box.kind == "model"] == ["learns", "learns", "frozen", "frozen"]
    assert {"learns", "frozen"} <= picture.kinds.keys()


def test_a_run_of_equal_blocks_is_one_box(picture: Picture) -> None:
    blocks = [box for box in picture.boxes if box.title == "linear"]
    assert [box.badge for box in blocks] == ["\u00d73", "\u00d73"]
    assert blocks[0].note == "3.07k weights"


def test_arrows_carry_shapes(picture: Picture) -> None:
    assert {"[b, 64]", "[b, 32]", "scalar", "gradients"} == {arrow.type for arrow in picture.arrows}


def test_the_loss_leads_into_what_updates_the_learner(picture: Picture) -> None:
    loss, optimizer = picture.boxes[-2:]
    assert (loss.title, loss.kind) == ("kd", "loss")
    assert (optimizer.title, optimizer.note) == ("update student", "adamw · lr 0.001 · 4 tensors")
    assert picture.arrows[-1].source == loss.id


def test_operations_say_the_numbers_that_they_take(picture: Picture) -> None:
    assert [box.title for box in picture.boxes if box.kind == "operation"] == ["-", "/ 2", "mean"]


def test_a_model_called_twice_is_opened_once() -> None:
    build = Builder("loss")
    x = build.input("image", IMAGE)
    build.children = [Child("net", encoder(2))]
    (first,) = build.call(0, [x], [FEATURES])
    (second,) = build.call(0, [x], [FEATURES])
    (both,) = build.append("sub", [first, second], {}, [FEATURES])
    sub = build.build([("", both)])
    picture = step_picture(train_stage(StageProgram(sub, (module_of(encoder(2), [0]),)), [0]))
    assert [frame.title for frame in picture.frames] == ["net"]
    assert [box.note for box in picture.boxes if box.title == "net"] == ["the same weights"]


def test_a_row_program_is_drawn_without_an_optimizer() -> None:
    stage = Stage("s1", "embed", "map", {"program": program_to_json(distillation())}, (), {"data": "Dataset"})
    picture = step_picture(stage)
    assert [box.kind for box in picture.boxes if box.kind == "optimizer"] == []
    assert all(box.state == "frozen" for box in picture.boxes if box.kind == "model")


def test_a_stage_without_a_program_is_refused() -> None:
    with pytest.raises(NoProgramError, match="stage `few` is a sample: it has no tensor program to draw"):
        step_picture(Stage("s1", "few", "sample", {}, (), {"data": "Dataset"}))


def test_weights_are_counted_by_use() -> None:
    assert parameter_count(encoder(3)) == 64 * 32 + 3 * 32 * 32
    assert [count_text(n) for n in (999, 35_264, 1_200_000)] == ["999", "35.3k", "1.2M"]


def test_shapes_leave_out_the_usual_dtype() -> None:
    assert type_text(TensorType("int32", (b * 2, 3))) == "int32[2b, 3]"


def test_a_listing_shows_each_model_once_before_its_callers() -> None:
    text = list_program(distillation())
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert [head.split("(")[0] for head in heads] == ["linear", "linear#2", "encoder", "loss"]
    assert "w = weight w (lecun_normal)" in text
    assert "call blocks.0: linear#2(" in text
    assert text.rstrip().endswith("return kd = %5")


def inner_loop() -> StageProgram:
    """A model whose two weights are read, and taken around a loop and into a choice."""
    build, body = Builder("loss"), Builder("body")
    x = build.input("image", IMAGE)
    model = linear(64, 64)
    number, h = body.input("i", TensorType("int32")), body.input("h", IMAGE)
    w = body.input("w", TensorType("float32", (64, 64)))
    body.apply("add", [number, number])
    product = body.apply("matmul", [h, w])[0]
    build.children = [Child("net", model), Child("body", body.build([("", product)]))]
    (read,) = build.append("read", [], {"child": 0, "slot": 0}, [w.type])
    (again,) = build.append("read", [], {"child": 0, "slot": 0}, [w.type])
    attributes = {"child": 1, "start": 1, "stop": 4, "states": 1, "site": 0}
    (moved,) = build.append("loop", [x, read], attributes, [IMAGE])
    place = build.apply("iota", [], {"n": 1})[0]
    choice = {"children": (1, 1), "site": 1, "select": False}
    (chosen,) = build.append("choose", [place, moved, again], choice, [IMAGE])
    (loss,) = build.append("mean", [chosen], {"axis": None}, [SCALAR])
    return StageProgram(build.build([("", loss)]), (Module((0,)), Module()))


def test_a_loop_says_how_often_and_a_model_whose_weights_are_read_is_one_box() -> None:
    spec = {"steps": [{"loss": program_to_json(inner_loop()), "update": [0], "optimizer": {"name": "sgd", "lr": 0.1}}]}
    picture = step_picture(Stage("s1", "t", "train", spec, (), {"0": "Model"}))
    titles = [box.title for box in picture.boxes]

    assert f"loop {TIMES}4" in titles and "choose 1 of 2" in titles and "read" not in titles
    assert titles.count("net") == 1
    (net,) = [box.id for box in picture.boxes if box.title == "net"]
    assert [arrow.type for arrow in picture.arrows if arrow.source == net] == ["weights", "weights"]


def test_a_listing_names_the_functions_that_an_operation_is_given() -> None:
    text = list_program(inner_loop())

    assert "read net.w" in text
    assert "loop 1..4 body(" in text and "choose [body, body](" in text


STATISTICS = """
digits = load("sklearn:digits")
net    = flatten >> batch_norm() >> linear(64)
head   = flatten >> linear(10)
t = train(on = digits, update = {net: net, head: head}) {
  loss = (x, y) => {
    z = loop (h = x, i in 1..2) { return reshape(net(noise()(h)), [h.shape[0], 8, 8, 1]) }
    value = sum(noise()(z))
    return cross_entropy(head(z), y) + sum(each(tensor([1.0, 2.0]), u => sum(grad(u * value, wrt = z))))
  }
  budget = 20steps
}
model noise()(z) { return where(uniform(z.shape) > 0.5, z, 0.0) }
"""


def test_statistics_that_move_in_a_loop_and_models_without_weights_are_drawn(tmp_path: Path) -> None:
    workflow = compile_text(STATISTICS, "test.etude", tmp_path).workflow
    assert workflow is not None
    picture = step_picture(next(stage for stage in workflow.stages.values() if stage.kind == "train"))
    titles = [box.title for box in picture.boxes]

    assert titles.count("statistics of net_batch_norm") == 1 and "key" not in titles
    assert any(title.startswith("noise") for title in titles)
    assert "model" in picture.kinds
    assert picture_to_dot(picture).startswith("digraph")
