"""`etude show`: runs that ended, failed, or are still going on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.draw.picture import TIMES
from etude.runtime.runs import create_folder, finish
from etude.runtime.store import Store

Cli = Callable[..., Any]
HISTORY = [
    {"epoch": n, "loss": 1.0 / n, "lr": 0.1, "part": 0.5, "step": 10 * n, "valid.accuracy": n / 10}
    for n in range(1, 21)
]


@pytest.fixture
def trained(folder: Path) -> str:
    """A run of three trainings, as its manifest tells: two of a sweep, one that failed half way."""
    store = Store(folder / ".etude")
    history = store.objects.put_json(HISTORY)
    place = create_folder(store)
    made = {"rows": 640, "steps": 200, "batch": 64, "training_seconds": 4.0, "backend": {"device": "cpu"}}
    stages = [
        {"id": f"s{n}", "name": f"nets[seed={n}]", "kind": "train", "action": action, "seconds": 5.0, "key": f"k{n}"}
        | {"outputs": {"0": "w", "history": history}, "made": made}
        for n, action in ((1, "run"), (2, "run"))
    ]
    failed = {"id": "s3", "name": "net", "kind": "train", "action": "failed", "seconds": 1.0, "key": None}
    stages.append(failed | {"outputs": {}, "made": {}, "failure": {"message": "the loss is not finite\nmore"}})
    events = [
        {"kind": "stage-started", "stage": "s3", "name": "net", "time": 1.0},
        {"kind": "stage-progress", "stage": "s3", "name": "net", "time": 2.0, "history": HISTORY[:4]},
    ]
    (place / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (place / "report").mkdir()
    (place / "report" / "dots.png").write_bytes(b"")
    counts = {"executed": 2, "cached": 0, "failed": 1, "skipped": 0, "started": 1e9, "seconds": 11.0}
    about = {"run": place.name, "recipe": "r.etude", "backend": "torch", "target": "cpu"}
    finish(store, place, {**about, "stages": stages, "claims": [], "metrics": {"score": 0.5}, **counts})
    return place.name


def test_a_run_is_told_by_its_stages_curves_metrics_and_pictures(cli: Cli, trained: str) -> None:
    lines = cli("show").out.splitlines()
    assert lines[0].startswith("r.etude: failed, ")
    assert lines[2].split() == [
        "nets",
        f"{TIMES}2",
        "train",
        "run",
        "10.0",
        "s",
        "loss",
        "0.05,",
        "valid.accuracy",
        "2",
    ]
    assert lines[3].split()[:5] == ["net", "train", "failed", "1.0", "s"]
    assert "nets[seed=1]  200 steps in 4.0 s, 50.0 steps/s, 3,200 rows/s" in lines
    assert any(line.startswith("  loss            █") and line.endswith("▁  1 → 0.05") for line in lines)
    assert f"picture: .etude/runs/{trained}/report/dots.png" in lines
    assert "score = 0.5" in lines
    assert "error: stage net failed: the loss is not finite" in lines


def test_of_a_training_that_failed_the_curve_so_far_is_shown(cli: Cli, trained: str) -> None:
    shown = cli("show", "--stage", "net").out
    assert "message: the loss is not finite" in shown
    assert "  loss            █▃▁▁  1 → 0.25" in shown


def test_one_stage_is_told_in_full(cli: Cli, trained: str) -> None:
    shown = cli("show", "--stage", "nets[seed=2]").out
    assert shown.startswith("nets[seed=2] (train)\n  run, 5.0 s, key k2\n")
    assert "  backend.device: cpu\n" in shown
    assert "  step  epoch     loss  part   lr  valid.accuracy\n    10" in shown
    assert "  12 of 20 rows\n" in shown


def test_the_stages_of_a_sweep_and_of_a_glob_are_meant_together(cli: Cli, trained: str) -> None:
    assert cli("show", "--stage", "nets").out.count("(train)") == 2
    assert cli("show", "--stage", "net*").out.count("(train)") == 3
    wrong = cli("show", "--stage", "nest")
    assert (wrong.code, "hint: did you mean 'net'?" in wrong.err) == (2, True)


def test_a_stage_as_json_has_its_history(cli: Cli, trained: str) -> None:
    found = cli("show", trained, "--stage", "nets[seed=1]", "--json").json
    (stage,) = found["stages"]
    assert (found["run"], stage["history"], stage["value"]) == (trained, HISTORY, None)


def test_a_run_that_goes_on_is_told_by_its_events(cli: Cli, folder: Path, trained: str) -> None:
    place = create_folder(Store(folder / ".etude"))
    events = [
        {"kind": "stage-cached", "stage": "s0", "name": "data", "time": 0.0, "outputs": {"data": "x"}},
        {"kind": "stage-started", "stage": "s1", "name": "net", "time": 1.0},
        {"kind": "stage-progress", "stage": "s1", "name": "net", "time": 2.0, "history": HISTORY[:4]},
    ]
    (place / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    shown = cli("show").out
    assert f"{place.name}: running" in shown
    assert "  loss            █▃▁▁  1 → 0.25" in shown
    assert "is running; what it finished is in the store" in shown
    assert cli("show", "--json").json["stages"][1]["action"] == "running"
    (place / "plan.json").write_text(json.dumps({"recipe": "below/net.etude", "stages": []}))
    assert "net.etude: running" in cli("show").out
    assert f"{place.name}  running      net.etude  1 stage done" in cli("runs").out
    assert cli("runs", "--json").json["runs"][0]["recipe"] == "below/net.etude"


def test_a_measure_of_classes_is_told_class_by_class(cli: Cli, folder: Path) -> None:
    store = Store(folder / ".etude")
    kept = [{"of": "", "label": "kind", "classes": ["cat", "dog"], "counts": [[8, 2], [1, 4]]}]
    outputs = {"value": store.objects.put_json(0.8), "confusion": store.objects.put_json(kept)}
    stage = {"id": "s1", "name": "right", "kind": "measure", "action": "run", "seconds": 1.0, "key": "k"}
    manifest = {"recipe": "r.etude", "stages": [stage | {"outputs": outputs, "made": {}}], "claims": []}
    finish(store, create_folder(store), manifest)
    shown = cli("show", "--stage", "right")
    assert shown.out.endswith(
        "  value: 0.8\n  right: 12 of 15 rows right (0.8)\n"
        "  class  rows  precision  recall      F1\n"
        "  cat      10     0.8889     0.8  0.8421\n"
        "  dog       5     0.6667     0.8  0.7273\n"
    )
    assert cli("show", "--stage", "right", "--json").json["stages"][0]["confusion"] == kept


def test_a_start_of_several_ids_is_told_so(cli: Cli, trained: str) -> None:
    cli("run", "host.etude")
    shown = cli("show", trained[:2])
    assert shown.code == 2 and f'runs have ids that start with "{trained[:2]}"' in shown.err
    assert "`etude runs` lists them" in cli("show", "nothing").err
