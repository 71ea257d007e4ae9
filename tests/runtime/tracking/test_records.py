"""TensorBoard's file format, read by TensorBoard."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.runtime.grids import grid_png
from etude.runtime.tracking import Subject, records
from etude.runtime.tracking.tensorboard import open_tracker

OUTCOME = {"metrics": {"score": 0.5}, "claims": [{"verdict": "fails"}], "failed": 0}


def test_a_record_carries_its_length_and_masked_checksums() -> None:
    data = records.record(b"123456789")
    assert struct.unpack("<Q", data[:8]) == (9,)
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert struct.unpack("<I", data[-4:]) == ((rotated + 0xA282EAD8) & 0xFFFFFFFF,)


def test_large_numbers_take_several_bytes() -> None:
    assert records.event(0.0, 300, [])[9:] == b"\x10\xac\x02" + b"\x2a\x00"


@pytest.fixture
def written(subject: Subject) -> Any:
    """What TensorBoard finds in the folder of a run that was followed to its end."""
    multiplexer = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_multiplexer", reason="TensorBoard is not installed"
    )
    tracker = open_tracker(subject, {})
    tracker.numbers("net/1", 10, {"loss": 1.0, "valid.loss": 2.0, "lr": 0.1}, 100.0)
    tracker.numbers("net/1", 20, {"loss": 0.5}, 101.0)
    tracker.picture("report.dots", "image", grid_png(np.zeros((2, 8, 4), np.float32)), 102.0)
    tracker.close(OUTCOME)
    found = multiplexer.EventMultiplexer(tensor_size_guidance={"tensors": 0})
    found.AddRunsFromDirectory(str(subject.folder / "tensorboard"))
    return found.Reload()


def values(found: Any, run: str, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors(run, tag)]


def test_tensorboard_reads_the_numbers_of_each_stage(written: Any) -> None:
    assert set(written.Runs()) == {".", "net_1", "report.dots"}
    assert values(written, "net_1", "train/loss") == [(10, 1.0), (20, 0.5)]
    assert values(written, "net_1", "valid/loss") == [(10, 2.0)]
    assert values(written, "net_1", "train/lr") == [(10, pytest.approx(0.1))]


def test_tensorboard_reads_the_pictures(written: Any) -> None:
    (event,) = written.Tensors("report.dots", "image")
    width, height, png = event.tensor_proto.string_val
    assert (width, height) == (b"68", b"64")
    assert png.startswith(b"\x89PNG")


def test_tensorboard_reads_the_recipe_the_params_and_how_the_run_ended(written: Any) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (event,) = written.Tensors(".", "recipe")
    assert event.tensor_proto.string_val == [b"```\nx = 1\n\n```"]
    assert values(written, ".", "metrics/score") == [(0, 0.5)]
    assert values(written, ".", "metrics/claims.fail") == [(0, 1.0)]
    sessions = written.PluginRunToTagToContent("hparams")["."]
    start = HParamsPluginData.FromString(sessions["_hparams_/session_start_info"]).session_start_info
    assert start.hparams["labels"].number_value == 0.1
    assert start.hparams["quick"].bool_value is True
    assert start.hparams["backend"].string_value == "torch"
    end = HParamsPluginData.FromString(sessions["_hparams_/session_end_info"]).session_end_info
    assert end.status == records.SUCCESS


def test_a_file_is_closed_after_every_event(subject: Subject) -> None:
    tracker = open_tracker(subject, {})
    tracker.numbers("net/1", 1, {"loss": 1.0}, 1.0)
    path: Path = subject.folder / "tensorboard" / "net_1" / "events.out.tfevents.etude"
    before = path.stat().st_size
    tracker.numbers("net/1", 2, {"loss": 1.0}, 2.0)
    assert path.stat().st_size > before
