from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from etude.compiler.workflow import Ref
from etude.runtime.events import Event, read_events
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.runs import list_runs
from etude.runtime.store import Store

Sketch = Any
Runs = Any


def actions(result: RunResult) -> dict[str, str]:
    return {stage.name: stage.action for stage in result.stages.values()}


def chain(sketch: Sketch, uri: str = "numbers.csv", seed: int = 0) -> Ref:
    """numbers -> doubled -> mean -> claim; the mean of twice 0, 0.5, .. 4.5 is 4.5."""
    data = sketch.load(uri, name="numbers")
    mean = sketch.measure(sketch.doubled(data, "x", seed, name="doubled"), "twice", name="mean")
    sketch.workflow.metrics["mean"] = mean
    sketch.claim(["gt", ["input", 0], ["number", 4]], mean, shown=[["mean", ["input", 0]]])
    return mean


def test_a_run_executes_every_stage_and_judges_the_claims(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    mean = chain(sketch)
    result = runs(sketch)
    assert set(actions(result).values()) == {"run"} and len(result.stages) == 4
    assert result.metrics == {"mean": 4.5}
    assert result.value(mean) == 4.5
    (claim,) = result.claims
    assert (claim.verdict, claim.values) == ("holds", {"mean": 4.5})


def test_a_second_run_executes_nothing(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    first, second = runs(sketch), runs(sketch)
    assert second.counts() == {"executed": 0, "cached": 4, "failed": 0, "skipped": 0}
    assert runs.of_kind("stage-started") == []
    assert second.metrics == first.metrics and second.claims == first.claims
    assert {s.name: s.outputs for s in second.stages.values()} == {s.name: s.outputs for s in first.stages.values()}
    assert [s.seconds for s in second.stages.values()] == [s.seconds for s in first.stages.values()]


CACHED = """
import json, sys, time
from pathlib import Path
started = time.perf_counter()
from etude.compiler.workflow import Claim, Ref, Stage, Workflow
from etude.runtime.runner import run
from etude.runtime.store import Store
workflow = Workflow("sketch.etude")
for fields in json.load(open(sys.argv[2])):
    inputs = tuple(Ref(*ref) for ref in fields.pop("inputs"))
    stage = Stage(**fields, inputs=inputs, outputs={})
    workflow.stages[stage.id] = stage
result = run(workflow, store=Store(sys.argv[1]), backend="torch", base=Path(sys.argv[3]))
heavy = {"numpy", "pyarrow", "sklearn", "torch", "jax", "networkx", "pydantic", "rich"} & set(sys.modules)
print(json.dumps({**result.counts(), "heavy": sorted(heavy), "seconds": time.perf_counter() - started}))
"""


def test_a_run_that_finds_everything_imports_nothing_heavy_and_takes_a_moment(
    sketch: Sketch, runs: Runs, numbers: Path, tmp_path: Path
) -> None:
    chain(sketch)
    runs(sketch)
    stages = [
        {"id": s.id, "name": s.name, "kind": s.kind, "spec": s.spec, "inputs": [[r.stage, r.port] for r in s.inputs]}
        for s in sketch.workflow.stages.values()
    ]
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    command = [sys.executable, "-c", CACHED, str(runs.store.root), str(tmp_path / "stages.json"), str(tmp_path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (found["executed"], found["cached"], found["heavy"]) == (0, 4, [])
    assert found["seconds"] < 1


def test_renamed_stages_and_a_moved_file_are_found_again(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    runs(sketch)
    (numbers.parent / "moved").mkdir()
    numbers.rename(numbers.parent / "moved" / "other.csv")
    renamed = type(sketch)()
    renamed.load("moved/other.csv", name="points")
    mean = renamed.measure(renamed.doubled(Ref("s0", "data"), "x", name="more"), "twice", name="average")
    renamed.claim(["gt", ["input", 0], ["number", 4]], mean, shown=[["average", ["input", 0]]])
    result = runs(renamed)
    assert set(actions(result).values()) == {"cached"}
    assert result.claims[0].values == {"average": 4.5}, "the texts are those of this recipe"


def test_a_file_edited_in_place_runs_again_what_depends_on_it(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    runs(sketch)
    numbers.write_text(numbers.read_text().replace("4.5", "9.5"))
    result = runs(sketch)
    assert set(actions(result).values()) == {"run"}
    assert result.metrics == {"mean": 5.5}


def test_a_changed_setting_runs_its_stage_and_what_truly_depends_on_it(
    sketch: Sketch, runs: Runs, numbers: Path
) -> None:
    chain(sketch)
    runs(sketch)
    changed = type(sketch)()
    chain(changed, seed=1)
    assert actions(runs(changed)) == {"numbers": "cached", "doubled": "run", "mean": "cached", "claim-s3": "cached"}, (
        "the new seed changes nothing of what comes out, so the rest is known"
    )


def test_equal_stages_of_one_recipe_are_executed_once(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    data = sketch.load("numbers.csv", name="numbers")
    sketch.doubled(data, "x", name="one")
    sketch.doubled(data, "x", name="two")
    result = runs(sketch, jobs=2)
    assert sorted(actions(result).values()) == ["cached", "run", "run"]
    assert runs.of_kind("stage-started") in (["numbers", "one"], ["numbers", "two"])


def test_a_failing_stage_takes_with_it_only_what_depends_on_it(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    bad = numbers.parent / "bad.csv"
    bad.write_text("x\n" + "1.5\n" * 1500 + "oops\n")
    broken = sketch.load("bad.csv", name="broken")
    lost = sketch.measure(broken, "x", name="lost")
    sketch.claim(["gt", ["input", 0], ["number", 1]], lost)
    chain(sketch)
    result = runs(sketch)
    assert actions(result) == {
        "broken": "failed",
        "lost": "skipped",
        "claim-s2": "skipped",
        "numbers": "run",
        "doubled": "run",
        "mean": "run",
        "claim-s6": "run",
    }
    assert [claim.verdict for claim in result.claims] == ["cannot tell", "holds"]
    (failed,) = result.failed
    assert failed.failure is not None
    assert failed.failure["message"].startswith(f'{bad}:1502: column "x": expected float32, got "oops"')
    assert "Traceback" in Path(failed.failure["details"]).read_text()
    assert result.stages["s1"].reason == "needs broken, which failed"
    assert runs.of_kind("stage-failed") == ["broken"]
    assert sorted(map(str, runs.of_kind("stage-skipped"))) == ["claim-s2", "lost"]


def test_a_second_run_picks_up_at_the_failed_stage(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    whole = numbers.read_text()
    numbers.write_text("x\n" + "1.5\n" * 1500 + "oops\n")
    chain(sketch)
    assert actions(runs(sketch))["numbers"] == "failed"
    numbers.write_text(whole)
    result = runs(sketch)
    assert set(actions(result).values()) == {"run"}
    assert result.to_json()["failed"] == 0


def test_a_missing_file_fails_its_stage_with_a_hint(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch, "number.csv")
    result = runs(sketch)
    assert set(actions(result).values()) == {"failed", "skipped"}
    assert 'did you mean "numbers.csv"?' in result.failed[0].failure["message"]  # type: ignore[index]


def test_an_expression_without_a_value_fails_its_stage_only(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    mean = chain(sketch)
    sketch.add("compute", {"expression": ["field", ["input", 0], "loss"]}, mean, name="wrong")
    result = runs(sketch)
    assert actions(result)["wrong"] == "failed"
    assert result.failed[0].failure["message"] == 'field "loss": not in a number'  # type: ignore[index]
    assert result.claims[0].verdict == "holds"


def test_only_what_is_wanted_is_run_with_what_it_needs(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    mean = chain(sketch)
    sketch.load("nowhere.csv", name="other")
    result = runs(sketch, only=[mean.stage])
    assert list(actions(result)) == ["numbers", "doubled", "mean"]


def spoil(store: Store, hash: str) -> None:
    """Flip one byte in the middle of an object."""
    path = store.objects.locate(hash)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_damaged_object_is_made_anew_by_the_run_that_meets_it(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    data = sketch.load("numbers.csv", name="numbers")
    first = runs(sketch)
    manifest = runs.store.read_json(first.stages["s0"].outputs["data"])
    spoil(runs.store, manifest["columns"]["x"]["object"])
    mean = sketch.measure(data, "x", name="mean")
    result = runs(sketch)
    assert actions(result) == {"numbers": "run", "mean": "run"}
    assert result.value(mean) == 2.25
    assert runs.of_kind("stage-warning") == ["mean"]


def test_whatever_byte_is_flipped_or_object_missing_the_results_are_the_same(
    sketch: Sketch, runs: Runs, numbers: Path
) -> None:
    """Each object in turn, in a run that finds all but one stage and so reads what the others made."""
    mean = sketch.measure(sketch.load("numbers.csv", name="numbers"), "x", name="mean")
    sketch.workflow.metrics["mean"] = mean
    sketch.claim(["gt", ["input", 0], ["number", 2]], mean)
    first = runs(sketch)
    objects = list(runs.store.objects)
    harms = [(spoil, hash) for hash in objects]
    harms += [(lambda store, hash: store.objects.locate(hash).unlink(), hash) for hash in objects[::3]]
    notices = 0
    for harm, hash in harms:
        harm(runs.store, hash)
        runs.store.records.remove(first.stages["s1"].key)
        result = runs(sketch)
        notices += len(runs.of_kind("stage-warning"))
        assert (result.metrics, result.claims, result.failed) == ({"mean": 2.25}, first.claims, []), hash
    assert len(objects) >= 5 and notices >= 3


def test_an_object_that_is_damaged_again_and_again_fails_its_stage(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    data = sketch.load("numbers.csv", name="numbers")
    first = runs(sketch)
    column = runs.store.read_json(first.stages["s0"].outputs["data"])["columns"]["x"]["object"]
    sketch.measure(data, "x", name="mean")

    def spoil_again(event: Event) -> None:
        if event.kind == "stage-started" and event.name == "mean":
            spoil(runs.store, column)

    result = run(sketch.workflow, store=runs.store, backend="torch", base=numbers.parent, jobs=1, on_event=spoil_again)
    assert actions(result) == {"numbers": "run", "mean": "failed"}
    assert "is damaged" in result.failed[0].failure["message"]  # type: ignore[index]


def test_the_folder_of_a_run_tells_what_happened(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    result = runs(sketch, recipe_text="# the recipe", about={"command": "run"})
    events = read_events(result.folder / "events.jsonl")
    assert [events[0]["kind"], events[-1]["kind"]] == ["run-started", "run-finished"]
    assert (events[-1]["executed"], events[-1]["cached"]) == (4, 0)
    finished = [event for event in events if event["kind"] == "stage-finished"]
    assert finished[0]["name"] == "numbers" and finished[0]["made"] == {"rows": 10}
    assert json.loads((result.folder / "plan.json").read_text())["stages"][1]["reason"] == "after numbers"
    manifest = json.loads((result.folder / "run.json").read_text())
    assert manifest["executed"] == 4 and manifest["command"] == "run"
    assert (result.folder / "recipe.etude").read_text() == "# the recipe"
    assert "def " in (result.folder / "source" / "doubled.py").read_text()
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "events.jsonl",
        "plan.json",
        "recipe.etude",
        "run.json",
        "source",
        "workers.log",
    ]


def test_the_json_of_a_run_has_the_fields_of_the_manual(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)
    data = runs(sketch).to_json()
    fields = {"run", "backend", "target", "stages", "executed", "cached", "claims", "metrics", "models", "report"}
    assert fields | {"seconds"} <= set(data)
    assert {"id", "name", "kind", "action", "seconds", "outputs"} <= set(data["stages"][0])
    assert set(data["claims"][0]) >= {"line", "text", "because", "verdict", "values"}
    assert json.loads(json.dumps(data)) == data


def test_two_runs_at_once_on_one_store_compute_nothing_twice(sketch: Sketch, store: Store, numbers: Path) -> None:
    chain(sketch)
    results: list[RunResult] = []

    def one_run() -> None:
        results.append(run(sketch.workflow, store=Store(store.root), backend="torch", base=numbers.parent, jobs=1))

    threads = [threading.Thread(target=one_run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.counts()["executed"] for result in results) == 4
    assert sum(result.counts()["cached"] for result in results) == 4
    assert results[0].metrics == results[1].metrics == {"mean": 4.5}


def test_an_interrupt_keeps_what_is_finished_and_leaves_no_worker(sketch: Sketch, runs: Runs, numbers: Path) -> None:
    chain(sketch)

    def interrupt(event: Event) -> None:
        if event.kind == "stage-finished" and event.name == "doubled":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(sketch.workflow, store=runs.store, backend="torch", base=numbers.parent, jobs=1, on_event=interrupt)
    (interrupted,) = list_runs(runs.store)
    assert interrupted.status == "interrupted"
    assert read_events(interrupted.folder / "events.jsonl")[-1]["kind"] == "run-interrupted"
    assert list((runs.store.root / "leases").iterdir()) == []
    assert actions(runs(sketch)) == {"numbers": "cached", "doubled": "cached", "mean": "run", "claim-s3": "run"}


KILLED = """
import json, os, signal, sys
from pathlib import Path
from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.runner import run
from etude.runtime.store import Store
workflow = Workflow("sketch.etude")
for fields in json.load(open(sys.argv[2])):
    inputs = tuple(Ref(*ref) for ref in fields.pop("inputs"))
    workflow.stages[fields["id"]] = Stage(**fields, inputs=inputs, outputs={})
def on_event(event):
    if event.kind == "stage-started" and event.name == "mean":
        os.kill(os.getpid(), signal.SIGKILL)
run(workflow, store=Store(sys.argv[1]), backend="torch", base=Path(sys.argv[3]), jobs=1, on_event=on_event)
"""


def test_a_killed_run_is_continued_where_it_was(sketch: Sketch, runs: Runs, numbers: Path, tmp_path: Path) -> None:
    chain(sketch)
    stages = [
        {"id": s.id, "name": s.name, "kind": s.kind, "spec": s.spec, "inputs": [[r.stage, r.port] for r in s.inputs]}
        for s in sketch.workflow.stages.values()
    ]
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    command = [sys.executable, "-c", KILLED, str(runs.store.root), str(tmp_path / "stages.json"), str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert [each.status for each in list_runs(runs.store)] == ["interrupted"]
    result = runs(sketch)
    assert actions(result) == {"numbers": "cached", "doubled": "cached", "mean": "run", "claim-s3": "run"}
    assert result.metrics == {"mean": 4.5}


def test_workers_end_when_the_run_that_started_them_is_killed(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from etude.runtime.executors.local import LocalExecutor
from etude.runtime.stages import Settings
executor = LocalExecutor(Settings(backend="torch"), 1, Path(sys.argv[1]))
print(executor._start().process.pid, flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.time() + 20
    while time.time() < deadline and is_running(worker):
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    """Whether a process exists and is more than an entry that nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
