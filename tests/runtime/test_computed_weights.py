"""Weights computed from weights, and models made from parts: the numbers, the keys, and what is known of test data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Array
from etude.backends.weights import load_weights
from etude.compiler.keys import recipe_keys
from etude.compiler.workflow import Workflow
from etude.runtime.compiling import compile_text
from etude.runtime.naming import shown_value
from etude.runtime.stages import INLINE, Job, Settings, execute
from etude.runtime.store import Store

DIGITS = 'digits = load("sklearn:digits") |> sample(200examples) |> split(train = 70%, test = 30%)\n'
NET = DIGITS + "net = finetune(flatten >> mlp([6, 10]), on = digits.train, budget = 20steps)\n"


class Done:
    """A recipe whose stages have been executed in this process."""

    def __init__(self, text: str, folder: Path, backend: str) -> None:
        compilation = compile_text(text, "test.etude", folder)
        assert compilation.workflow is not None, [d.message for d in compilation.diagnostics]
        self.workflow: Workflow = compilation.workflow
        self.store, self.hashes = Store(folder / "store"), dict[tuple[str, str], str]()
        for stage in self.workflow.stages.values():
            inputs = [self.hashes[ref.stage, ref.port] for ref in stage.inputs]
            (folder / stage.id).mkdir()
            settings = Settings(backend="numpy" if stage.kind in INLINE else backend)
            job = Job(
                store=self.store, kind=stage.kind, spec=stage.spec, inputs=inputs, settings=settings, base=folder,
                folder=folder / stage.id,
            )  # fmt: skip
            self.hashes |= {(stage.id, port): hash for port, hash in execute(job).outputs.items()}

    def weights(self, name: str) -> list[Array]:
        """The weights of a model bound at the top level."""
        (binding,) = (model for model in self.workflow.models if model.name == name)
        files: dict[str, list[Array]] = {}
        found = []
        for _, _, source in binding.weights:
            stage, port, index = source["input"]
            hash = self.hashes[stage, port]
            files.setdefault(hash, load_weights(self.store.objects.path(hash)))
            found.append(files[hash][index])
        return found

    def value(self, name: str) -> Any:
        (stage,) = (stage for stage in self.workflow.stages.values() if stage.name == name)
        return shown_value(stage, self.store.read_json(self.hashes[stage.id, "value"]))


@pytest.fixture(params=["torch", "jax"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_arithmetic_is_weight_by_weight(tmp_path: Path, backend: str) -> None:
    text = (
        NET
        + """
    other  = finetune(net, on = digits.train, budget = 20steps, seed = 3)
    middle = net + 0.25 * (other - net)
    mean   = average([net, other])
    parts  = average([net, other], shares = [0.25, 0.75])
    away   = -(other / 2)
    small  = edit(net, at = "**.w", w => where(abs(w) > quantile(abs(w), 0.5), w, 0))
    mask   = weights(small) != 0
    kept   = other.with(weights(other) * mask)
    """
    )
    done = Done(text, tmp_path, backend)
    net, other = done.weights("net"), done.weights("other")
    pairs = list(zip(net, other, strict=True))
    expected = {
        "middle": [a + 0.25 * (b - a) for a, b in pairs],
        "mean": [(a + b) / 2 for a, b in pairs],
        "parts": [0.25 * a + 0.75 * b for a, b in pairs],
        "away": [-b / 2 for _, b in pairs],
        "small": [np.where(np.abs(a) > np.quantile(np.abs(a), 0.5), a, 0) if a.ndim > 1 else a for a in net],
    }
    expected["kept"] = [b * (s != 0) for b, s in zip(other, expected["small"], strict=True)]
    for name, weights in expected.items():
        for got, wanted in zip(done.weights(name), weights, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_an_intermediate_model_without_a_name_has_no_stage_of_its_own(tmp_path: Path) -> None:
    text = (
        NET
        + """
    other  = finetune(net, on = digits.train, budget = 20steps, seed = 3)
    middle = net + 0.5 * (other - net)
    score  = accuracy(middle, on = digits.test)
    """
    )
    compilation = compile_text(text, "test.etude", tmp_path)
    assert compilation.workflow is not None
    assert [s.name for s in compilation.workflow.stages.values() if s.kind == "edit"] == ["middle"]


def test_taps_give_what_the_parts_give_in_the_order_of_the_calls(tmp_path: Path, backend: str) -> None:
    text = (
        NET
        + """
    gaps = measure(on = digits.test, ({image}) => {
      t      = taps(net, ["**.layers.*"])(image)
      hidden = net[1].layers[0](reshape(image, [64]))
      return {
        first: max(abs(t.activations[0] - hidden)), last: max(abs(t.activations[1] - t.output)),
        whole: max(abs(t.output - net(image)))
      }
    })
    """
    )
    done = Done(text, tmp_path, backend)
    assert done.value("gaps") == pytest.approx({"first": 0, "last": 0, "whole": 0}, abs=1e-6)


def test_a_replacement_keeps_the_rest_and_can_be_undone(tmp_path: Path, backend: str) -> None:
    text = (
        NET
        + """
    model twice(base: Model)(x) { return 2 * base(x) }
    double  = replace(net, at = "1.layers.1", with = part => twice(part))
    earlier = finetune(net, on = digits.train, budget = 20steps, seed = 3)
    back    = replace(earlier, at = "1.layers.1", with = part => net[1].layers[1])
    gaps = measure(on = digits.test, ({image}) => {
      hidden = relu(earlier[1].layers[0](reshape(image, [64])))
      return {
        double: max(abs(double(image) - 2 * net(image))),
        back: max(abs(back(image) - net[1].layers[1](hidden))), moved: max(abs(back(image) - earlier(image)))
      }
    })
    """
    )
    gaps = Done(text, tmp_path, backend).value("gaps")
    assert gaps["double"] == pytest.approx(0, abs=1e-5) and gaps["back"] == pytest.approx(0, abs=1e-5)
    assert gaps["moved"] > 1e-3


def test_merged_adapters_compute_what_the_adapters_do(tmp_path: Path, backend: str) -> None:
    text = (
        "use std.peft\n"
        + NET
        + """
    first   = finetune(lora(net, rank = 2, alpha = 3.0), on = digits.train, budget = 20steps)
    merged  = merge(first, into = net)
    onto    = finetune(lora(merged, rank = 2), on = digits.train, budget = 20steps, seed = 2)
    beside  = finetune(lora(first, rank = 3), on = digits.train, budget = 20steps, seed = 2)
    inner   = merge(beside)
    both    = merge(inner)
    gaps = measure(on = digits.test, ({image}) => {
      merged: max(abs(merged(image) - first(image))),
      onto: max(abs(merge_of_onto(image) - onto(image))), inner: max(abs(inner(image) - beside(image))),
      both: max(abs(both(image) - beside(image))), moved: max(abs(both(image) - merged(image)))
    })
    merge_of_onto = merge(onto)
    """
    )
    gaps = Done(text, tmp_path, backend).value("gaps")
    assert {name: gap for name, gap in gaps.items() if gap > 1e-4} == {"moved": gaps["moved"]}


def test_the_best_of_adapters_is_an_adapter_of_the_same_base(tmp_path: Path) -> None:
    text = (
        "use std.peft\n"
        + NET
        + """
    tried  = [finetune(lora(net, rank = 1), on = digits.train, budget = 20steps, seed = s) for s in 1..2]
    chosen = best(tried, by = m => accuracy(m, on = digits.train))
    merged = merge(chosen, into = net)
    mixed  = average(tried)
    soup   = merge(mixed, into = net)
    gaps = measure(on = digits.test, ({image}) => {
      same: max(abs(merged(image) - chosen(image))), mean: max(abs(soup(image) - mixed(image)))
    })
    """
    )
    assert Done(text, tmp_path, "torch").value("gaps") == pytest.approx({"same": 0, "mean": 0}, abs=1e-4)


def test_edited_weights_draw_the_same_on_both_frameworks(tmp_path: Path) -> None:
    text = NET + "noisy = edit(net, w => w + normal(w.shape))"
    found = []
    for name in ("torch", "jax"):
        (tmp_path / name).mkdir()
        done = Done(text, tmp_path / name, name)
        found.append([a - b for a, b in zip(done.weights("noisy"), done.weights("net"), strict=True)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    flat = np.concatenate([noise.ravel() for noise in found[0]])
    assert abs(flat.mean()) < 0.2 and 0.8 < flat.std() < 1.2


def test_keys_of_computed_weights_know_no_names(tmp_path: Path) -> None:
    text = NET + 'half = edit(net, at = "1.layers.0.w", w => 0.5 * w)\nscore = accuracy(half, on = digits.test)'
    renamed = (
        text.replace("half", "smaller").replace('"1.layers.0.w"', '"**.0.w"').replace("w => 0.5 * w", "v => 0.5 * v")
    )
    keys = []
    for each in (text, renamed):
        workflow = compile_text(each, "test.etude", tmp_path).workflow
        assert workflow is not None
        keys.append([recipe_keys(workflow)[id] for id in workflow.stages])
    assert keys[0] == keys[1]


def test_keys_of_adapters_do_not_depend_on_what_stands_around(tmp_path: Path) -> None:
    """Nor on names; the fresh weights of two layers differ, though they are made alike."""
    text = "use std.peft\n" + NET + "small = finetune(lora(net, rank = 2), on = digits.train, budget = 20steps)"
    before = "other = finetune(flatten >> mlp([5, 10]), on = digits.train, budget = 20steps)\nnet = "
    texts = (text, text.replace("small", "tiny"), text.replace("net = ", before))
    keys, fresh = set(), set()
    for each in texts:
        workflow = compile_text(each, "test.etude", tmp_path).workflow
        assert workflow is not None
        (stage,) = (s for s in workflow.stages.values() if s.name in ("small", "tiny"))
        keys.add(recipe_keys(workflow)[stage.id])
        fresh.add(tuple(str(s["source"]) for s in stage.spec["slots"] if "fresh" in s["source"]))
    assert len(keys) == 1
    (drawn,) = fresh
    assert len(set(drawn)) == len(drawn) == 4


@pytest.mark.parametrize(
    "made",
    [
        "average([clean, tuned])",
        "clean + 0.5 * (tuned - clean)",
        'edit(clean, beside = tuned, (w, v) => w + v)',
        "clean.with(weights(tuned))",
        'replace(clean, at = "1.layers.0", with = part => tuned[1].layers[0])',
    ],
)  # fmt: skip
def test_what_a_computed_model_was_made_from_has_seen_is_seen_by_it(tmp_path: Path, made: str) -> None:
    """A model that saw a part of the test data shapes another: measured on that part, it is refused, on another not."""
    text = f"""
    digits = load("sklearn:digits") |> split(train = 60%, test = 40%)
    halves = split(digits.test, a = 50%, b = 50%)
    clean  = finetune(flatten >> mlp([6, 10]), on = digits.train, budget = 20steps)
    still  = {{models: {{}}, loss: (m, {{image}}) => mean(square(m(image)))}}
    tuned  = pretrain(clean, on = halves.a, method = still, budget = 20steps)
    mixed  = {made}
    score  = measure(on = halves.HALF, ({{image}}) => mean(square(mixed(image))))
    """
    codes = {
        half: [d.code for d in compile_text(text.replace("HALF", half), "test.etude", tmp_path).diagnostics]
        for half in "ab"
    }
    assert {half: sorted(found) for half, found in codes.items()} == {"a": ["E503", "W501"], "b": ["W501"]}
