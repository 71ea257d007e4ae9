"""Costs are counted from shapes."""

from __future__ import annotations

from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Module, Slot, StageProgram, Sub, Value
from etude.backends.program.types import TensorType
from etude.compiler.costs import program_cost, weight_bytes

X = TensorType("float32", (b, 8))
Y = TensorType("float32", (b, 4))


def linear() -> Sub:
    build = Builder("linear")
    x = build.input("x", X)
    w = build.weight(Slot("w", TensorType("float32", (8, 4)), (("kind", "zeros"),)))
    return build.build([("", build.apply("matmul", [x, w])[0])])


def loss(calls: int, *, rows: bool = False) -> StageProgram:
    """The mean of a layer's outputs, called so many times."""
    build = Builder("loss")
    x = build.input("x", X)
    build.children = [Child("net", linear())]
    for _ in range(calls):
        (y,) = build.call(0, [x], [Y], rows=rows)
    return StageProgram(build.build([("", y)]), (Module((0,)),))


def test_a_product_costs_two_operations_for_each_pair() -> None:
    assert program_cost(loss(1), batch=16).flops == 2 * 16 * 8 * 4


def test_every_call_counts() -> None:
    assert program_cost(loss(3), batch=16).flops == 3 * program_cost(loss(1), batch=16).flops


def test_a_model_that_learns_costs_three_passes() -> None:
    frozen, learning = program_cost(loss(1), 16), program_cost(loss(1), 16, learning=[0])
    assert learning.flops == 3 * frozen.flops
    assert learning.kept == frozen.kept == 16 * 4 * 4


def test_a_call_on_rows_sees_one_row() -> None:
    assert program_cost(loss(1, rows=True), batch=16).flops == 2 * 8 * 4


def test_bytes_are_read_and_written() -> None:
    assert program_cost(loss(1), batch=16).bytes == 4 * (16 * 8 + 8 * 4 + 16 * 4)


def test_weights_are_counted_once_however_often_they_are_used() -> None:
    assert weight_bytes(loss(3)) == 4 * 8 * 4
    assert weight_bytes(loss(3), slots=[7]) == 0


def test_doing_it_again_keeps_no_more() -> None:
    cost = program_cost(loss(1), 16)
    assert (cost.times(5).flops, cost.times(5).kept) == (5 * cost.flops, cost.kept)


def repeated(name: str, *, rounds: int = 5) -> StageProgram:
    """A layer whose product is taken in a loop, a scan or an `each`; its weight is read from outside."""
    inner = Builder("body")
    state = inner.input("x", X)
    weight = inner.input("w", TensorType("float32", (8, 8)))
    product = inner.apply("matmul", [state, weight])[0]
    build = Builder("loss")
    x, w = build.input("x", X), build.input("w", TensorType("float32", (8, 8)))
    if name == "loop":
        inner.inputs.insert(0, ("i", Value(99, TensorType("int32"))))
        attributes = {"start": 0, "stop": rounds - 1, "states": 1, "site": 0}
        operands = [x, w]
    else:
        x = build.input("xs", TensorType("float32", (rounds, b, 8)))
        attributes = {"mapped": ((True, False),)}
        operands = [x, w]
    build.children = [Child("body", inner.build([("", product)]))]
    made = build.append(name, operands, {"child": 0, **attributes}, [X])
    return StageProgram(build.build([("", made[0])]), (Module(),))


def test_what_is_repeated_costs_as_often() -> None:
    product = 2 * 16 * 8 * 8

    assert program_cost(repeated("loop"), batch=16).flops == 5 * product
    assert program_cost(repeated("loop", rounds=9), batch=16).flops == 9 * product
    assert program_cost(repeated("each"), batch=16).flops == 5 * product


def test_a_choice_costs_its_dearest_branch_and_all_of_them_where_each_row_picks() -> None:
    build = Builder("loss")
    x, place = build.input("x", X), build.input("i", TensorType("int32"))
    for count in (1, 3):
        branch = Builder("branch")
        value = branch.input("x", X)
        for _ in range(count):
            value = branch.apply("tanh", [value])[0]
        build.children.append(Child(f"branch{count}", branch.build([("", value)])))
    for select, expected in ((False, 3), (True, 4)):
        build.ops.clear()
        attributes = {"children": (0, 1), "site": 0, "select": select}
        (made,) = build.append("choose", [place, x], attributes, [X])
        program = StageProgram(build.build([("", made)]), (Module(), Module()))
        assert program_cost(program, batch=16).flops == expected * 16 * 8
