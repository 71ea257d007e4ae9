"""Row programs become batch programs: inputs, models, randomness, what does not depend on the row."""

from __future__ import annotations

import pytest

from etude.backends.ops import OperandError
from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Literal, Op, Slot, Sub
from etude.backends.program.rows import vectorize
from etude.backends.program.types import TensorType

ROW = TensorType("float32", (3,))
ROWS = TensorType("uint32", (b,))


def batched(kind: TensorType) -> TensorType:
    return TensorType(kind.dtype, (b, *kind.shape))


def model(*, is_random: bool = False) -> Sub:
    """`[b, 3]` to `[b, 2]`, with dropout where it is random."""
    build = Builder("linear")
    x = build.input("x", batched(ROW))
    w = build.weight(Slot("w", TensorType("float32", (3, 2)), (("kind", "lecun_normal"),)))
    if is_random:
        x = build.apply("dropout", [x], {"rate": 0.5})[0]
        noise = build.apply("normal", [], {"shape": (b, 3)})[0]
        x = build.apply("add", [x, noise])[0]
    return build.build([("", build.apply("matmul", [x, w])[0])])


def calling(child: Sub, *, rows: bool = True) -> Sub:
    build = Builder("row", children=[Child("net", child)])
    x = build.input("x", ROW if rows else TensorType("float32", (5, 3)))
    kind = TensorType("float32", (2,)) if rows else TensorType("float32", (5, 2))
    (y,) = build.call(0, [x], [kind], rows=rows)
    return build.build([("", y)])


def names(sub: Sub) -> list[str]:
    return [op.name for op in sub.ops]


def named(sub: Sub, name: str) -> Op:
    return next(op for op in sub.ops if op.name == name)


def test_inputs_and_outputs_get_the_batch() -> None:
    build = Builder("row")
    x = build.input("x", ROW)
    result = vectorize(build.build([("norm", build.apply("norm", [x], {"axis": None, "keep": False})[0])]))
    assert [(name, value.type) for name, value in result.inputs] == [("x", batched(ROW))]
    assert [(name, value.type) for name, value in result.outputs] == [("norm", TensorType("float32", (b,)))]
    assert named(result, "norm").attrs["axis"] == (1,)


def test_what_does_not_depend_on_the_row_is_computed_once_and_repeated_at_the_end() -> None:
    build = Builder("row")
    x = build.input("x", ROW)
    ones = build.apply("ones", [], {"shape": (3,)})[0]
    twice = build.apply("mul", [ones, Literal(2.0)])[0]
    result = vectorize(build.build([("constant", twice), ("sum", build.apply("add", [x, twice])[0])]))
    assert named(result, "mul").results[0].type == ROW
    assert [value.type for _, value in result.outputs] == [batched(ROW), batched(ROW)]
    assert names(result) == ["ones", "mul", "add", "broadcast"]


def test_rows_of_different_ranks_are_aligned_at_the_right() -> None:
    build = Builder("row")
    x, y = build.input("x", TensorType("float32", (4, 3))), build.input("y", TensorType("float32", (3,)))
    result = vectorize(build.build([("", build.apply("add", [x, y])[0])]))
    assert named(result, "reshape").attrs["shape"] == (b, 1, 3)


def test_names_for_people_are_kept() -> None:
    build = Builder("row")
    x = build.input("x", ROW)
    (y,) = build.apply("exp", [x])
    build.names[y.id] = "grown"
    result = vectorize(build.build([("", y)]))
    assert result.names[result.ops[-1].results[0].id] == "grown"


def test_a_model_called_on_rows_sees_the_batch() -> None:
    result = vectorize(calling(model()))
    call = named(result, "call")
    assert call.attrs == {"child": 0, "site": 0, "rows": False}
    assert call.operands[0].type == batched(ROW)
    assert call.results[0].type == TensorType("float32", (b, 2))


def test_a_model_called_on_a_batch_within_the_row_sees_all_of_them_end_to_end() -> None:
    result = vectorize(calling(model(), rows=False))
    assert named(result, "call").operands[0].type == TensorType("float32", (b * 5, 3))
    assert result.outputs[0][1].type == TensorType("float32", (b, 5, 2))


def test_a_random_program_takes_the_identities_of_its_rows() -> None:
    build = Builder("row")
    x = build.input("x", ROW)
    noise = build.apply("normal", [], {"shape": (3,)})[0]
    flip = build.apply("bernoulli", [Literal(0.5)], {"shape": ()})[0]
    result = vectorize(build.build([("x", build.apply("add", [x, noise])[0]), ("flip", flip)]))
    assert result.inputs[-1] == ("rows", result.inputs[-1][1]) and result.inputs[-1][1].type == ROWS
    normal, bernoulli = named(result, "normal"), named(result, "bernoulli")
    assert normal.attrs == {"shape": (3,), "site": 0, "rows": True}
    assert normal.operands == (result.inputs[-1][1],) and normal.results[0].type == batched(ROW)
    assert bernoulli.attrs["site"] == 1 and bernoulli.results[0].type == TensorType("bool", (b,))


def test_a_random_model_is_given_the_identities_too() -> None:
    result = vectorize(calling(model(is_random=True)))
    rows = result.inputs[-1][1]
    assert named(result, "call").operands[-1] == rows
    child = result.children[0].sub
    assert [name for name, _ in child.inputs] == ["x", "rows"]
    dropout, normal = named(child, "dropout"), named(child, "normal")
    assert dropout.attrs == {"rate": 0.5, "site": 0, "rows": True} and dropout.operands[-1] == child.inputs[-1][1]
    assert normal.attrs == {"shape": (3,), "site": 1, "rows": True}
    assert normal.results[0].type == batched(ROW)


def test_a_program_without_chance_takes_no_identities() -> None:
    assert [name for name, _ in vectorize(calling(model())).inputs] == ["x"]


def test_a_kernel_that_differs_by_row_is_refused() -> None:
    build = Builder("row")
    x = build.input("x", TensorType("float32", (8, 8, 1)))
    w = build.input("w", TensorType("float32", (3, 3, 1, 2)))
    attributes = {"stride": 1, "padding": "same", "groups": 1, "dilation": 1, "has": ("x", "w")}
    program = build.build([("", build.apply("conv", [x, w], attributes)[0])])
    with pytest.raises(OperandError, match="one kernel for all rows"):
        vectorize(program)
