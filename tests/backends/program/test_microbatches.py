"""Which losses are means over rows, by their programs, and in how many parts a batch is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.backends.program.microbatches import CoupledError, check_divisible
from etude.backends.program.serialize import program_from_json
from etude.runtime.compiling import compile_text

HEAD = """
digits = load("sklearn:digits")
net    = flatten >> mlp([8, 10])
image  = convnet([4]) >> linear(10)
normed = flatten >> linear(8) >> batch_norm() >> linear(10)
"""
MEANS = [
    "cross_entropy(net(image), label)",
    'mean(cross_entropy(net(image), label, reduce = "row") * float(label + 1))',
    "{a: mean(square(net(image))), b: 0.1 * sum(square(weights(net)))}",
    "sum(sum(square(net(image)), axis = -1)) / image.shape[0]",
    "-mean(log_softmax(net(image))[:, 0]) + 1",
    "mean(square(net(image + normal(image.shape))))",
    "mean(norm(reshape(net(image), [image.shape[0] * 2, 5]), axis = -1))",
    "mean(dropout(net(image), rate = 0.5))",
    "mean(square(net(image))) / 2 - mean(abs(net(image)))",
    'mean(einsum([net(image), net(image)], "bi,bi->b"))',
    "mean(net(image) @ transpose(zeros([3, 10])))",
]
COUPLED = [
    ("sum(square(net(image)))", "sum over the rows"),
    ("mean(square(net(image) - mean(net(image), axis = 0)))", "meet in 'sub'"),
    ("mean(net(image) @ transpose(net(image)))", "meet in 'transpose'"),
    ("mean(net(image)) ** 2", "meet in 'pow'"),
    ("max(net(image))", "meet in 'max'"),
    ("mean(net(image)[0:3])", "meet in 'slice'"),
    ("mean(net(image) * normal([10]))", "meet in 'normal'"),
    ("cross_entropy(normed(image), label)", "keeps statistics of the batch"),
    ("mean(softmax(net(image), axis = 0))", "meet in 'softmax'"),
    ("mean(net(image)[label])", "meet in 'gather'"),
]


def check(loss: str) -> None:
    model = "normed" if "normed" in loss else "net"
    text = (
        f"{HEAD}t = train(on = digits, update = {{m: {model}}}, loss = ({{image, label}}) => {loss}, budget = 1steps)"
    )
    compilation = compile_text(text, "test.etude", Path())
    assert compilation.workflow is not None, compilation.diagnostics
    (stage,) = (stage for stage in compilation.workflow.stages.values() if stage.kind == "train")
    check_divisible(program_from_json(stage.spec["steps"][0]["loss"]).sub)


@pytest.mark.parametrize("loss", MEANS)
def test_a_mean_over_rows_may_be_taken_in_parts(loss: str) -> None:
    check(loss)


@pytest.mark.parametrize(("loss", "reason"), COUPLED)
def test_a_loss_in_which_rows_meet_may_not(loss: str, reason: str) -> None:
    with pytest.raises(CoupledError, match=reason):
        check(loss)
