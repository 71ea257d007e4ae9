"""Recipes of data: what mixtures, tasks, splits in time and fitted estimators make when they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.datasets import Dataset
from etude.runtime.results import RunResult
from etude.runtime.runner import run
from etude.runtime.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("shared") / "store")


def compiled(text: str, base: Path = Path(), allowed: tuple[str, ...] = ()) -> Workflow:
    compilation = compile_text(text, "test.etude", base, allowed=allowed)
    assert compilation.workflow is not None, [each.message for each in compilation.diagnostics]
    return compilation.workflow


def performed(text: str, store: Store, base: Path = Path(), allowed: tuple[str, ...] = (), **more: Any) -> RunResult:
    return run(compiled(text, base, allowed), store=store, base=base, jobs=1, **{"backend": "torch", **more})


def data_of(result: RunResult, name: str, port: str = "data") -> Dataset:
    stage = next(stage for stage in result.stages.values() if stage.name == name)
    return Dataset.open(result.store, stage.outputs[port])


def told(result: RunResult) -> str:
    return " ".join(str((stage.failure or {}).get("message")) for stage in result.failed)


def values(result: RunResult) -> dict[str, Any]:
    return dict(result.metrics)


def count(name: str) -> str:
    return f"n_{name} = measure(on = {name}, row => sum(row.image))\n"


DIGITS = 'digits = load("sklearn:digits") |> split(train = 80%, test = 20%, stratify = "label")\n'


def test_a_mixture_has_its_shares_from_its_beginning_on(store: Store) -> None:
    text = 'd = load("sklearn:digits") |> split_classes([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])\n'
    text += "m = mix(d, [75%, 25%])\nlong = mix(d, [50%, 50%], size = 2000examples)\n" + count("m") + count("long")
    result = performed(text, store)
    is_high = data_of(result, "m").column("label") >= 5
    assert abs(is_high[:100].mean() - 0.25) <= 0.01 and abs(is_high.mean() - 0.25) <= 0.01
    assert len(np.unique(data_of(result, "m").ids)) == len(is_high)
    longer = data_of(result, "long")
    halves = [longer.ids[longer.column("label") >= 5], longer.ids[longer.column("label") < 5]]
    assert longer.rows == 2000 and [len(half) for half in halves] == [1000, 1000]
    assert len(np.unique(halves[0])) == 896  # all rows of the smaller dataset before any comes again
    assert len(np.unique(halves[0][:896])) == 896


def test_copies_of_a_row_do_not_stand_side_by_side_in_an_epoch() -> None:
    from etude.backends.batches import Stream, told_apart

    ids = np.repeat(np.arange(200, dtype=np.uint64) * np.uint64(2**40), 5)
    assert len(np.unique(told_apart(ids))) == 1000
    rows = ids[Stream(ids, 1000, seed=0).indices(0)]
    assert (rows[1:] == rows[:-1]).mean() < 0.05
    assert told_apart(ids[::5]) is not ids and np.array_equal(told_apart(ids[::5]), ids[::5])


def test_stages_act_on_every_part_of_a_record_of_splits(store: Store) -> None:
    text = DIGITS + 'few = digits |> sample(2examples, per = "label") |> shuffle(1)\nrest = digits - few\n'
    text += "back = rest + few\n"
    text += "".join(f"n_{d}{p} = measure(on = {d}.{p}, row => 1.0)\n" for d in ("few", "rest", "back")
                    for p in ("train", "test"))  # fmt: skip
    result = performed(text, store)
    sizes = {stage.name: stage.made.get("rows") for stage in result.stages.values()}
    assert (sizes["few.train"], sizes["few.test"]) == (20, 20)
    assert sizes["back.train"] == sizes["rest.train"] + 20 == sizes["digits.split"]["train"]
    assert list(data_of(result, "few.train").ids) != list(data_of(result, "few.train.shuffle").ids)


def test_the_rows_of_a_task_differ_and_its_classes_count_from_zero(store: Store) -> None:
    text = 'd = load("sklearn:digits") |> split_classes([[6, 7, 8, 9]])\n'
    text += "named = d[0] |> map(row => {image: row.image, true: row.label + 0, label: row.label})\n"
    text += 'tasks = episodes(named, ways = 3, shots = 2, queries = 4, count = 70, label = "label")\n'
    text += "n = measure(on = tasks, row => mean(row.query_true))\n"
    tasks = data_of(performed(text, store), "tasks")
    assert tasks.rows == 70 and tasks.column("support_image").shape == (70, 6, 8, 8, 1)
    assert tasks.column("query_label")[3].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for index in range(70):
        support = tasks.column("support_true")[index].reshape(3, 2)
        query = tasks.column("query_true")[index].reshape(3, 4)
        assert (support == support[:, :1]).all() and (query == support[:, :1]).all()
        assert len(set(support[:, 0].tolist())) == 3
        images = np.concatenate([tasks.column("support_image")[index], tasks.column("query_image")[index]])
        assert len(np.unique(images.reshape(18, -1), axis=0)) == 18
    assert len({tuple(row.tolist()) for row in tasks.column("support_true")}) > 5


def test_tasks_that_need_more_rows_than_there_are_fail_with_a_sentence(store: Store) -> None:
    text = 'few = load("sklearn:iris") |> sample(3examples, per = "label")\n'
    text += (
        "tasks = episodes(few, ways = 3, shots = 2, queries = 2)\nn = measure(on = tasks, row => sum(row.query_label))"
    )
    result = performed(text, store)
    assert "a task needs 3 classes with 4 rows, but only 0 have so many" in told(result)


def test_a_split_in_time_puts_all_of_a_day_on_one_side(store: Store, tmp_path: Path) -> None:
    days = ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-01"] * 4
    (tmp_path / "days.csv").write_text("date,x\n" + "".join(f"{day},{i}\n" for i, day in enumerate(days)))
    text = 'parts = load("days.csv") |> split(by = "date", past = 60%, future = 40%)\n'
    text += "a = measure(on = parts.past, row => row.x + 0.0)\nb = measure(on = parts.future, row => row.x + 0.0)\n"
    result = performed(text, store, tmp_path)
    past, future = (data_of(result, "parts.split", port) for port in ("past", "future"))
    assert set(past.column("date")) == {"2024-01-01", "2024-01-02"} and set(future.column("date")) == {"2024-01-03"}


def test_texts_become_classes_and_other_texts_are_an_error(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("kind,x\n" + "cat,1.5\ndog,2.5\ncat,3.5\n")
    text = 'd = load("a.csv") |> relabel("kind", classes = CLASSES)\nn = measure(on = d, row => row.kind + 0.0)\n'
    good = performed(text.replace("CLASSES", '["dog", "cat"]'), store, tmp_path)
    assert data_of(good, "d").column("kind").tolist() == [1, 0, 1]
    assert data_of(good, "d").schema("kind").class_names == ("dog", "cat")
    bad = performed(text.replace("CLASSES", '["cat", "cow"]'), store, tmp_path)
    assert 'column "kind": expected one of cat, cow, got dog in row 1' in told(bad)


def test_a_stream_gives_training_its_budget_and_measures_other_rows(store: Store) -> None:
    text = """
s    = stream(() => { x = normal([4])  return {x: x, label: as_label(int(sum(x) > 0.0), classes = 2)} })
net  = finetune(linear(2), on = s, batch = 16, budget = 50steps, optimizer = adamw(lr = 0.1))
part = s |> sample(300examples)
acc  = accuracy(net, on = part)
"""
    result = performed(text, store)
    seen, part = data_of(result, "net.stream.t"), data_of(result, "part")
    assert (seen.rows, part.rows) == (800, 300) and not np.isin(part.ids, seen.ids).any()
    assert values(result)["acc"] > 0.9


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_fitted_models_are_composed_and_trained_further(store: Store, backend: str, tmp_path: Path) -> None:
    text = (
        DIGITS
        + """
scaler = fit(standard_scaler(), on = digits.train)
axes   = fit(pca(10), on = digits.train |> map(row => {...row, image: scaler(row.image)}))
head   = fit(logistic_regression(), on = digits.train |> map(row => {z: axes(scaler(row.image)), label: row.label}))
before = accuracy(scaler >> axes >> head, on = digits.test)
net    = finetune(scaler >> axes >> head, on = digits.train, budget = 3epochs)
after_ = accuracy(net, on = digits.test)
trees  = fit(random_forest(30), on = digits.train)
wood   = accuracy(trees, on = digits.test)
student = distill(scaler >> axes >> head, into = flatten >> linear(10), on = digits.train, budget = 1epochs)
"""
    )
    found = values(performed(text, store, backend=backend))
    assert found["before"] > 0.8 and found["after_"] > found["before"] - 0.05 and found["wood"] > 0.9


def test_a_fit_is_found_again_and_only_its_seed_moves_it(store: Store) -> None:
    text = DIGITS + "trees = fit(random_forest(5), on = digits.train, seed = 1)\n"
    text += "line = fit(ridge(), on = digits.train)\na = accuracy(trees, on = digits.test)\n"
    text += "b = accuracy(line, on = digits.test)\n"
    performed(text, store)
    again = performed(text.replace("seed = 1", "seed = 2").replace("ridge()", "ridge(alpha = 1)"), store)
    actions = {stage.name: stage.action for stage in again.stages.values()}
    assert actions["trees"] == "run" and actions["line"] == "cached"


PROGRAM = """
import json
rows = [json.loads(line) for line in open("inputs/rows.jsonl")]
with open("outputs/made.jsonl", "w") as out:
    for row in rows:
        out.write(json.dumps({"x": VALUE, "label": row["label"]}) + "\\n")
json.dump(json.load(open("inputs/half.json")) * 2, open("outputs/total.json", "w"))
"""
EXTERNAL = """
d    = load("sklearn:iris")
half = measure(on = d, row => 0.25)
made = external("python3 score.py", inputs = {rows: d, half: half}, files = ["score.py"]) {
  outputs = {made: {x: "float[2]", label: "label(3)"}, total: "number"}
}
a = measure(on = made.made, row => sum(row.x))
total = made.total
"""


def external(store: Store, folder: Path, program: str) -> RunResult:
    (folder / "score.py").write_text(program)
    return performed(EXTERNAL, store, folder, ("external",))


def test_a_program_is_given_files_and_makes_what_is_declared(store: Store, tmp_path: Path) -> None:
    result = external(store, tmp_path, PROGRAM.replace("VALUE", "[1, 2.5]"))
    assert values(result)["a"] == 3.5 and values(result)["total"] == 0.5
    again = external(store, tmp_path, PROGRAM.replace("VALUE", "[1, 2.5]"))
    assert next(s for s in again.stages.values() if s.name == "made").action == "cached"
    other = external(store, tmp_path, PROGRAM.replace("VALUE", "[0, 0]"))
    assert values(other)["a"] == 0.0


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (PROGRAM.replace("VALUE", "[1]"), 'made.jsonl:1: column "x": expected float32[2], got [1]'),
        (PROGRAM.replace('"x": VALUE', '"y": 1'), "made.jsonl:1: expected the columns x, label, got y, label"),
        ("raise ValueError('no such thing')", "ended with status 1: ValueError: no such thing"),
        ("pass", "the program made no outputs/made.jsonl"),
    ],
)
def test_a_program_that_does_otherwise_is_one_paragraph(
    store: Store, tmp_path: Path, program: str, message: str
) -> None:
    result = external(store, tmp_path, program)
    assert message in told(result) and "Traceback" not in told(result)


def test_a_program_that_is_not_there_or_not_done_in_time_is_told(store: Store, tmp_path: Path) -> None:
    text = 'made = external("CMD", outputs = {total: "number"}, timeout = 1s)\ntotal = made.total'
    gone = performed(text.replace("CMD", "no-such-program"), store, tmp_path, ("external",))
    assert "cannot run 'no-such-program'" in told(gone)
    slow = performed(text.replace("CMD", "sleep 600"), store, tmp_path, ("external",))
    assert "'sleep 600' was not done after 1 s" in told(slow)


def test_the_account_of_a_fit_has_the_version_of_its_package() -> None:
    from etude.compiler.keys import key_parts

    workflow = compiled(DIGITS + "line = fit(ridge(), on = digits.train)\nb = accuracy(line, on = digits.test)\n")
    stage = next(stage for stage in workflow.stages.values() if stage.kind == "fit")
    assert set(json.loads(json.dumps(key_parts(stage, ["x"], "torch", "float32")["semantics"]))) == {
        "stage", "operations", "scikit-learn",
    }  # fmt: skip


def test_the_library_of_data_and_of_tasks_does_what_it_says(store: Store) -> None:
    text = (Path(__file__).parents[1] / "compiler" / "accepted" / "library_of_data.etude").read_text()
    found = values(performed(text, store))
    assert found["held"] > 0.85 and found["near"] > 0.6 and found["both"] > 0.7
    assert found["right"] == pytest.approx(0.73, abs=0.05)  # a random class is right once in ten
    assert found["rare"] < 0.03
    assert found["naive_end"] < found["kept_end"] < found["upper_end"]
    assert found["lost_less"] < found["lost"]
