"""Costs are counted from shapes."""

from __future__ import annotations

from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Module, Slot, StageProgram, Sub
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
