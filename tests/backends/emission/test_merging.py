"""Classes that differ in numbers only: one class, whose parameters they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etude.backends.emission.merging import ClassText, Merger
from etude.backends.program.dims import b

FRAMEWORKS = ("torch", "jax")


@pytest.fixture
def spec(kit: Any) -> Any:
    slots, loss = kit.Slots(), kit.Model("loss")
    models = [kit.tiny_vit(depth=2, dim=8, heads=2), kit.tiny_vit(depth=3, dim=16, heads=4)]
    x = loss.input("image", kit.floats(b, 8, 8, 1))
    means = [
        loss.do("mean", loss.do("square", loss.run(name, model, x)), axis=None)
        for name, model in zip(("small", "large"), models, strict=True)
    ]
    modules = [slots.module(model, name) for name, model in zip(("small", "large"), models, strict=True)]
    return kit.train_spec(loss.done(loss.do("add", *means)), modules, slots)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_transformers_of_two_sizes_are_one_class(framework: str, kit: Any, spec: Any) -> None:
    source = kit.emit(framework, spec).source
    assert [source.count(f"class {name}") for name in ("TinyVit", "Block", "SelfAttention", "LayerNorm")] == [1] * 4
    assert "self.heads" in source and "for _ in range(depth)" in source
    assert source.count("TinyVit(") == 3


def test_both_frameworks_agree_on_merged_classes(kit: Any, spec: Any) -> None:
    torch, jax = kit.both(spec)
    batch = {"image": np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)}
    (torch_loss, torch_grads), (jax_loss, jax_grads) = torch.loss(batch), jax.loss(batch)
    assert torch_loss == pytest.approx(jax_loss, rel=1e-5)
    assert len(torch_grads) == len(spec["slots"])
    for slot, grad in torch_grads.items():
        np.testing.assert_allclose(grad, jax_grads[slot], atol=1e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_model_that_draws_and_one_that_does_not_are_methods_of_one_class(framework: str, kit: Any) -> None:
    slots, loss = kit.Slots(), kit.Model("loss")
    student, teacher = kit.mlp(4, [8, 2], dropout=0.5), kit.mlp(4, [8, 2])
    x = loss.input("x", kit.floats(b, 4))
    gap = loss.do("sub", loss.run("student", student, x), loss.run("teacher", teacher, x))
    modules = [slots.module(student, "student"), slots.module(teacher, "teacher")]
    spec = kit.train_spec(loss.done(loss.do("mean", loss.do("square", gap), axis=None)), modules, slots)
    source = kit.emit(framework, spec).source
    assert source.count("class Mlp") == 1
    assert "models.teacher.evaluate(x)" in source


def text(name: str, width: int, line: str, kind: str = "net") -> ClassText:
    return ClassText(
        name, kind, [f"net(width={width}): x"], [], [], [f"self.w = empty({width}, 3)"], {"forward": [line]}
    )


def test_what_differs_in_more_than_numbers_stays_apart() -> None:
    merger = Merger([text("Net", 2, "return x + 2"), text("Net2", 4, "return x - 4"), text("Other", 4, "", "other")])
    assert [merger.left(name) is not None for name in ("Net", "Net2", "Other")] == [True] * 3
    assert merger.calls("Net2()") == "Net2()"


def test_a_number_of_a_method_is_kept_under_the_name_of_the_setting() -> None:
    merger = Merger([text("Net", 2, "return x + 2 * 1.5"), text("Net2", 4, "return x + 4 * 1.5")])
    merged = merger.left("Net")
    assert merged is not None and merger.left("Net2") is None
    assert merged.methods["forward"] == ["return x + self.width * 1.5"]
    assert (merged.parameters, merged.setup) == (["width"], ["self.width = width"])
    assert merged.constructor == ["self.w = empty(width, 3)"]
    assert merger.calls("Net() + Net2()") == "Net(2) + Net(4)"
