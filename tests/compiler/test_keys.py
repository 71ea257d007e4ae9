from __future__ import annotations

import copy
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from etude.backends.ops import find, names
from etude.backends.program.builder import Builder
from etude.backends.program.dims import b
from etude.backends.program.ir import Child, Module, Slot, StageProgram
from etude.backends.program.serialize import program_to_json
from etude.backends.program.types import TensorType
from etude.compiler import keys
from etude.compiler.keys import canonical_json, key_parts, stage_key, uses_backend
from etude.compiler.workflow import Ref, Stage

Json = Any

BATCH = TensorType("float32", (b, 4))


def loss(
    model: str = "linear",
    child: str = "head",
    slot: str = "w",
    parameter: str = "x",
    column: str = "x",
    reduce: str = "mean",
    running: bool = False,
    twins: bool = False,
) -> Json:
    """A loss that calls a model with one weight, under names of one's choice; with `twins` two equal models."""
    inner = Builder(model, doc=f"The model {model}.")
    x = inner.input(parameter, BATCH)
    weight = inner.weight(Slot(slot, TensorType("float32", (4, 2)), (("kind", "lecun_normal"),), running))
    sub = inner.build([("", inner.apply("matmul", [x, weight])[0])])
    outer = Builder("loss")
    outer.children += [Child(child, sub), Child("second", replace(sub, name="twin") if twins else sub)]
    logits = outer.call(0, [outer.input(column, BATCH)], [TensorType("float32", (b, 2))])
    total = outer.apply(reduce, logits, {"axis": None, "keep": False})
    return program_to_json(StageProgram(outer.build([("", total[0])]), (Module((0,)), Module((0,)))))


TRAIN = Stage(
    id="s4",
    name="trained",
    kind="train",
    spec={
        "steps": [{"loss": loss(), "update": [0], "optimizer": {"name": "adamw", "lr": 1e-3}, "every": 1}],
        "slots": [
            {
                "shape": [4, 2],
                "dtype": "float32",
                "path": "head.w",
                "init": {"kind": "lecun_normal"},
                "source": {"fresh": {"structure": "abcd", "ordinal": 0, "seed": 3}},
            }
        ],
        "results": [[0]],
        "names": [["head", ["w"]]],
        "batch": 64,
        "budget": {"epochs": 5},
        "seed": 3,
        "identity": "ab" * 16,
        "inputs": {"on": 0, "valid": None},
    },
    inputs=(Ref("s1", "train"),),
    outputs={"0": "Model", "history": "History"},
    line=12,
)
INPUTS = ["11" * 32]


def key(stage: Stage, inputs: list[str] | None = None, backend: str = "torch", precision: str = "float32") -> str:
    return stage_key(stage, INPUTS if inputs is None else inputs, backend, precision)


def edited(change: Callable[[Json], object], stage: Stage = TRAIN) -> Stage:
    spec = copy.deepcopy(dict(stage.spec))
    change(spec)
    return replace(stage, spec=spec)


def test_a_key_is_a_hash_that_has_not_changed() -> None:
    """When this changes, every result in every store is made anew: is that meant?"""
    assert key(TRAIN) == "7774d2df49e7df9409922488a0cef6d3b66a1d47ba53ae19a9cc1ee7a7d43ab0"


def with_loss(**names: Any) -> Callable[[Json], object]:
    return lambda spec: spec["steps"][0].update(loss=loss(**names))


@pytest.mark.parametrize(
    "change",
    [
        with_loss(model="dense"),
        with_loss(child="classifier"),
        with_loss(slot="kernel"),
        with_loss(parameter="image"),
        with_loss(twins=True),
        lambda spec: spec["slots"][0].update(path="classifier.w"),
        lambda spec: spec.update(names=[["classifier", ["w"]]]),
    ],
)
def test_names_that_are_only_for_people_do_not_change_a_key(change: Callable[[Json], object]) -> None:
    assert key(edited(change)) == key(TRAIN)


def test_the_place_and_name_of_a_stage_do_not_change_its_key() -> None:
    moved = replace(TRAIN, id="s9", name="other", line=99, label="lr 0.1", group=("f",), inputs=(Ref("s7", "data"),))
    assert key(moved) == key(TRAIN)


def test_what_a_training_calls_its_players_does_not_change_its_key() -> None:
    def key(*players: str) -> str:
        steps = [{**TRAIN.spec["steps"][0], "name": name} for name in players]
        return stage_key(replace(TRAIN, spec={**TRAIN.spec, "steps": steps}), INPUTS, "torch", "float32")

    assert key("net") == key("brain") == stage_key(TRAIN, INPUTS, "torch", "float32")
    assert key("maker", "judge") == key("maker", "critic") != key("net")


def test_the_order_of_fields_does_not_change_a_key() -> None:
    assert key(replace(TRAIN, spec=dict(reversed(TRAIN.spec.items())))) == key(TRAIN)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(seed=4),
        lambda spec: spec.update(batch=65),
        lambda spec: spec.update(budget={"epochs": 6}),
        lambda spec: spec.update(identity="cd" * 16),
        lambda spec: spec["steps"][0]["optimizer"].update(lr=1e-2),
        with_loss(reduce="sum"),
        with_loss(running=True),
        with_loss(column="image"),
        lambda spec: spec["slots"][0]["source"]["fresh"].update(seed=4),
        lambda spec: spec["slots"][0].update(source={"input": 1, "index": 0}),
    ],
)
def test_what_a_stage_does_changes_its_key(change: Callable[[Json], object]) -> None:
    assert key(edited(change)) != key(TRAIN)


def test_inputs_backend_and_precision_change_the_key_of_a_stage_that_trains() -> None:
    others = [key(TRAIN, ["22" * 32]), key(TRAIN, backend="jax"), key(TRAIN, precision="bf16")]
    assert len({key(TRAIN), *others}) == 4


ROWS = Stage("s2", "mapped", "map", {"program": loss(), "slots": [], "keep": [], "columns": [], "seed": 0}, (), {})


def test_the_backend_is_part_of_a_key_only_where_it_computes() -> None:
    assert not uses_backend(ROWS)
    assert key(ROWS, backend="jax") == key(ROWS, backend="torch")
    weighted = replace(ROWS, spec={**ROWS.spec, "slots": TRAIN.spec["slots"]})
    assert uses_backend(weighted)
    assert key(weighted, backend="jax") != key(weighted, backend="torch")


def test_the_semantics_of_operations_and_kinds_are_part_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    semantics = key_parts(TRAIN, INPUTS, "torch", "float32")["semantics"]
    assert semantics == {"stage": 2, "operations": {"call": 1, "matmul": 1, "mean": 1, "weight": 1}}
    before = key(TRAIN)
    changed = {name: replace(operation, semantics=2) for name in names() if (operation := find(name))}
    monkeypatch.setattr(keys, "find", changed.get)
    keys.semantics_text.cache_clear()
    after = key(TRAIN)
    monkeypatch.undo()
    monkeypatch.setattr(keys, "SEMANTICS", {**keys.SEMANTICS, "train": 3})
    keys.semantics_text.cache_clear()
    last = key(TRAIN)
    monkeypatch.undo()
    keys.semantics_text.cache_clear()
    assert len({before, after, last}) == 3


def test_a_key_is_the_hash_of_its_parts() -> None:
    for stage in (TRAIN, ROWS, replace(TRAIN, spec={**TRAIN.spec, "seed": 7})):
        parts = key_parts(stage, INPUTS, "jax", "bf16")
        assert key(stage, backend="jax", precision="bf16") == sha256(canonical_json(parts)).hexdigest()
    timed = sha256(canonical_json({**key_parts(TRAIN, INPUTS, "jax", "bf16"), "computer": "here"})).hexdigest()
    assert stage_key(TRAIN, INPUTS, "jax", "bf16", "here") == timed


def test_every_kind_of_stage_that_can_be_executed_has_semantics() -> None:
    import pkgutil

    import etude.runtime.stages as stages

    kinds = {module.name for module in pkgutil.iter_modules(stages.__path__)}
    assert kinds - {"parity", "resume"} == set(keys.SEMANTICS)


def load(uri: str) -> Stage:
    return Stage("s1", "data", "load", {"uri": uri, "options": {}}, (), {})


def test_a_file_is_known_by_content_and_format_not_by_its_place() -> None:
    assert key(load("a/train.csv")) == key(load("b/moved.CSV"))
    assert key(load("a/train.csv")) != key(load("a/train.npz"))
    assert key(load("sklearn:digits")) != key(load("sklearn:iris"))
    assert key(load("a.csv"), ["aa"]) != key(load("a.csv"), ["bb"])


def test_the_texts_of_a_claim_and_the_labels_of_a_plot_do_not_change_their_keys() -> None:
    def claim(text: str, value: int) -> Stage:
        spec = {"expression": ["gt", ["input", 0], ["number", 1]], "shown": [[text, ["number", value]]]}
        return Stage("s1", "expect", "claim", spec, (), {})

    def plot(label: str, y: str) -> Stage:
        spec = {"series": [{"label": label, "input": 0}], "y": [y], "x": "epoch"}
        return Stage("s1", "curves", "plot", spec, (), {})

    assert key(claim("acc(a)", 1)) == key(claim("acc(b)", 1)) != key(claim("acc(a)", 2))
    assert key(plot("a", "loss")) == key(plot("b", "loss")) != key(plot("a", "valid.loss"))


def test_the_cells_of_a_table_are_part_of_its_key_and_the_names_of_its_columns_are_not() -> None:
    def table(**cells: int) -> Stage:
        row = ["list", [["number", value] for value in cells.values()]]
        return Stage("s1", "table", "table", {"expression": ["list", [row]], "columns": [*cells]}, (), {})

    assert key(table(a=1, b=2)) == key(table(c=1, b=2)) != key(table(b=2, a=1))


def test_class_names_are_part_of_a_key_as_they_are_part_of_the_result() -> None:
    def mapped(names: list[str]) -> Stage:
        kind = {"kind": "label", "classes": 2, "names": names}
        return replace(ROWS, spec={**ROWS.spec, "columns": [["y", ["int32", []], kind]]})

    assert key(mapped(["a", "b"])) != key(mapped(["a", "c"]))
