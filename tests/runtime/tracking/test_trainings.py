"""A training on a framework, followed by TensorBoard's files and by what `etude show` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.histories import histories_told
from etude.runtime.runner import run
from etude.runtime.store import Store
from etude.runtime.tracking.following import Following

RECIPE = """
irises = load("sklearn:iris") |> split(train = 60%, valid = 40%)
net    = finetune(mlp([8]) >> linear(3), on = irises.train, valid = irises.valid, budget = 3epochs)
score  = accuracy(net, on = irises.valid)
"""


def test_the_files_and_the_events_have_the_history_of_a_training(store: Store) -> None:
    multiplexer = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_multiplexer", reason="TensorBoard is not installed"
    )
    workflow = compile_text(RECIPE, "irises.etude", Path()).workflow
    assert workflow is not None
    with Following(workflow, store, RECIPE, {"tensorboard": {}}, {"backend": "torch"}) as following:
        result = run(workflow, store=store, backend="torch", base=Path(), jobs=1, on_event=following)
    assert following.warnings == []
    net = next(stage for stage in result.stages.values() if stage.name == "net")
    history = store.read_json(net.outputs["history"])
    assert histories_told(result.folder / "events.jsonl")["net"] == history

    found = multiplexer.EventMultiplexer(tensor_size_guidance={"tensors": 0})
    found.AddRunsFromDirectory(str(result.folder / "tensorboard"))
    found.Reload()
    for tag, name in (("train/loss", "loss"), ("valid/accuracy", "valid.accuracy")):
        told = [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors("net", tag)]
        assert [step for step, _ in told] == [row["step"] for row in history]
        assert [value for _, value in told] == pytest.approx([row[name] for row in history], rel=1e-6)
    (score,) = found.Tensors(".", "metrics/score")
    assert score.tensor_proto.float_val[0] == pytest.approx(result.metrics["score"])
