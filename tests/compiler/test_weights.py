"""Whose weights learn, where the others come from, and how fresh ones are told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etude.compiler.workflow import Stage, Workflow

Find = Callable[[str, str], Stage]
Compile = Callable[..., Workflow]


def learning(stage: Stage) -> set[str]:
    return {stage.spec["slots"][i]["path"] for i in stage.spec["steps"][0]["update"]}


def frozen(stage: Stage) -> set[str]:
    return {slot["path"] for slot in stage.spec["slots"]} - learning(stage)


def fresh(stage: Stage) -> dict[str, Any]:
    return {slot["path"]: slot["source"]["fresh"] for slot in stage.spec["slots"] if "fresh" in slot["source"]}


def test_only_the_weights_in_update_learn(stage_named: Find) -> None:
    stage = stage_named(
        """
        encoder = mlp([16])
        head = linear(10)
        t = train(on = digits.train, update = head) { loss = (x, y) => cross_entropy(head(encoder(flatten(x))), y) }
        """,
        "t",
    )
    assert learning(stage) == {"head.w", "head.b"}
    assert frozen(stage) == {"encoder.layers.0.w", "encoder.layers.0.b"}


def test_a_composite_has_the_weights_of_its_parts(stage_named: Find) -> None:
    stage = stage_named(
        """
        encoder = mlp([16])
        net = flatten >> encoder >> linear(10)
        t = train(on = digits.train, update = [encoder]) { loss = (x, y) => cross_entropy(net(x), y) }
        """,
        "t",
    )
    assert learning(stage) == {"net_encoder.layers.0.w", "net_encoder.layers.0.b"}
    assert frozen(stage) == {"net_linear.w", "net_linear.b"}


def test_a_model_reached_in_two_ways_has_one_slot_for_each_weight(stage_named: Find) -> None:
    stage = stage_named(
        """
        encoder = mlp([16])
        net = encoder >> linear(10)
        t = train(on = digits.train, update = net) {
          loss = (x, y) => cross_entropy(net(flatten(x)), y) + 0.1 * mean(square(encoder(flatten(x))))
        }
        """,
        "t",
    )
    assert len(stage.spec["slots"]) == 4


def test_a_trained_teacher_is_frozen_and_comes_from_its_stage(compiled: Compile) -> None:
    workflow = compiled(
        """
        teacher = finetune(flatten >> mlp([16, 10]), on = digits.train)
        student = distill(teacher, into = flatten >> mlp([4, 10]), on = digits.train)
        """
    )
    teacher, student = (s for s in workflow.stages.values() if s.kind == "train")
    sources = [s["source"] for s in student.spec["slots"] if "input" in s["source"]]
    assert [source["index"] for source in sources] == [0, 1, 2, 3]
    assert {student.inputs[source["input"]].stage for source in sources} == {teacher.id}
    assert len(learning(student)) == 4


def test_training_a_part_replaces_only_that_part_in_the_whole(compiled: Compile) -> None:
    workflow = compiled(
        """
        fn criterion(m, x, y) = cross_entropy(m(flatten(x)), y)
        encoder = finetune(mlp([16]) >> linear(10), on = digits.train, loss = criterion)
        again = finetune(flatten >> encoder[0] >> linear(10, seed = 7), on = digits.train)
        """
    )
    again = next(s for s in workflow.stages.values() if s.name == "again")
    kinds = ["input" if "input" in s["source"] else s["source"]["fresh"]["seed"] for s in again.spec["slots"]]
    assert kinds == ["input", "input", 7, 7]


def test_the_seed_of_a_train_covers_the_fresh_weights_that_were_given_none(stage_named: Find) -> None:
    stage = stage_named(
        "m = finetune(flatten >> mlp([4]) >> linear(10, seed = 3), on = digits.train, seed = 9)",
        "m",
    )
    assert sorted(source["seed"] for source in fresh(stage).values()) == [3, 3, 9, 9]


def test_runs_give_every_stage_inside_its_seed(compiled: Compile) -> None:
    workflow = compiled("ms = runs(1..3, s => finetune(flatten >> linear(10), on = digits.train))")
    assert [s.spec["seed"] for s in workflow.stages.values() if s.kind == "train"] == [1, 2, 3]


def test_renaming_a_model_and_its_variables_keeps_its_fresh_weights(stage_named: Find) -> None:
    first = stage_named(
        """
        model net(width: int)(x) { h = linear(width)(flatten(x))  return linear(10)(relu(h)) }
        m = finetune(net(8), on = digits.train)
        """,
        "m",
    )
    second = stage_named(
        """
        model tower(units: int)(image) { hidden = linear(units)(flatten(image))  return linear(10)(relu(hidden)) }
        m = finetune(tower(8), on = digits.train)
        """,
        "m",
    )
    assert list(fresh(first).values()) == list(fresh(second).values())


def test_another_structure_draws_other_weights(stage_named: Find) -> None:
    text = "m = finetune(flatten >> mlp([{}, 10]), on = digits.train)"
    first, second = stage_named(text.format(8), "m"), stage_named(text.format(9), "m")
    assert not {str(v) for v in fresh(first).values()} & {str(v) for v in fresh(second).values()}


def test_equal_layers_of_one_model_draw_different_weights(stage_named: Find) -> None:
    stage = stage_named("m = finetune(flatten >> mlp([16, 16, 10]), on = digits.train)", "m")
    drawn = [str(source) for source in fresh(stage).values()]
    assert len(set(drawn)) == len(drawn)


def test_a_probe_looks_at_features_that_are_computed_once(compiled: Compile) -> None:
    workflow = compiled(
        """
        encoder = finetune(flatten >> mlp([16]) >> linear(10), on = digits.train)
        probe = linear_probe(encoder[0:2], on = digits.train, classes = 10)
        """
    )
    (features,) = (s for s in workflow.stages.values() if s.kind == "map")
    probe = next(s for s in workflow.stages.values() if s.name == "probe")
    assert probe.inputs[0].stage == features.id
    assert learning(probe) == {"head.w", "head.b"} and not frozen(probe)


def test_dropout_is_live_only_where_the_model_learns(compiled: Compile) -> None:
    workflow = compiled(
        """
        model noisy(out: int)(x) { return linear(out)(dropout(flatten(x), 0.5)) }
        teacher = finetune(noisy(10), on = digits.train)
        student = distill(teacher, into = noisy(10), on = digits.train)
        """
    )
    student = next(s for s in workflow.stages.values() if s.name == "student")
    subs = student.spec["steps"][0]["loss"]["subs"]
    assert [("dropout" in {op[0] for op in sub["ops"]}) for sub in subs if sub["name"] == "noisy"] == [True, False]


def test_a_model_called_on_batches_of_two_sizes_is_one_sub_program(stage_named: Find) -> None:
    stage = stage_named(
        """
        net = mlp([16])
        t = train(on = digits.train, update = net) {
          loss = ({image}) => mean(net(flatten(concat([image, image], axis = 0)))) + mean(net(flatten(image)))
        }
        """,
        "t",
    )
    names = [sub["name"] for sub in stage.spec["steps"][0]["loss"]["subs"]]
    assert names == ["linear", "mlp", "loss"]


def test_a_constructor_that_indexes_keeps_its_weights_when_its_lines_move(stage_named: Find) -> None:
    text = """
        model first(out: int)(x) { return linear(out)(flatten(x)[..., newaxis][:, :, 0]) }
        m = finetune(first(10), on = digits.train)
        """
    assert list(fresh(stage_named(text, "m")).values()) == list(fresh(stage_named("# moved\n\n" + text, "m")).values())


def test_a_setting_of_a_trained_model_is_the_trained_one(stage_named: Find) -> None:
    stage = stage_named(
        """
        decoder = mlp([64])
        v = autoencoder(mlp([8]), decoder)
        t = train(on = digits.train, update = {v: v}) {
          loss = ({image}) => mse(v(flatten(image)).output, flatten(image))
        }
        again = measure(on = digits.test, ({image}) => sum(t.v.decoder(t.v(reshape(image, [64])).code)))
        """,
        "again",
    )
    sources = {slot["path"]: set(slot["source"]) for slot in stage.spec["slots"]}
    assert len(sources) == 4  # the encoder's and the decoder's, each once
    assert all(source == {"input", "index"} for source in sources.values())


def test_settings_in_lists_are_the_trained_ones(stage_named: Find) -> None:
    stage = stage_named(
        """
        both = ensemble([flatten >> linear(10), flatten >> linear(10, seed = 2)])
        t = finetune(both, on = digits.train)
        again = accuracy(t.members[1], on = digits.test)
        """,
        "again",
    )
    assert [set(slot["source"]) for slot in stage.spec["slots"]] == [{"input", "index"}] * 2


def test_an_average_is_the_same_under_every_seed(compiled: Compile) -> None:
    workflow = compiled(
        """
        net = flatten >> linear(10)
        a = finetune(net, on = digits.train, seed = 1)
        b = finetune(net, on = digits.train, seed = 2)
        means = runs(1..3, s => accuracy(average([a, b]), on = digits.test))
        moved = runs(1..3, s => accuracy(edit(a, w => w + normal(w.shape)), on = digits.test))
        """
    )
    edits = [stage.name for stage in workflow.stages.values() if stage.kind == "edit"]
    assert len(edits) == 1 + 3


def test_lists_in_update_come_back_as_lists(compiled: Compile) -> None:
    workflow = compiled(
        """
        body = flatten >> mlp([16])
        heads = [linear(10, seed = i) for i in 1..3]
        t = train(on = digits.train, update = {body, heads}, budget = 3epochs) {
          loss = ({image, label}, {body, heads}) => sum([cross_entropy(h(body(image)), label) for h in heads])
          optimizer = adamw(groups = [{at: "heads.1.**", lr: 0.5}])
          watch = {last: ({body, heads}) => accuracy(body >> heads[-1], on = digits.test)}
          keep = all
        }
        scores = [accuracy(t.body >> head, on = digits.test) for head in t.heads]
        early = accuracy(t.checkpoints[0].body >> t.checkpoints[0].heads[2], on = digits.test)
        """
    )
    train, *measures = (stage for stage in workflow.stages.values() if stage.kind in {"train", "measure"})
    assert learning(train) == {f"{path}.{name}" for path in ("body.layers.0", *PATHS) for name in "wb"}
    (group,) = train.spec["steps"][0]["optimizer"]["groups"]
    assert [train.spec["slots"][slot]["path"] for slot in group["slots"]] == ["heads.1.w", "heads.1.b"]
    read = [{ref.port for ref in stage.inputs if ref.stage == train.id} for stage in measures]
    assert read == [{"0", "1"}, {"0", "2"}, {"0", "3"}, {"0.0", "0.3"}]


PATHS = ["heads.0", "heads.1", "heads.2"]
