"""The source of three models on both frameworks, as a reviewer reads it. `ETUDE_ACCEPT=1` accepts what is emitted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest


def stages(kit: Any) -> dict[str, Any]:
    return {
        "mlp": kit.classifier({"mlp": kit.mlp(8, [16, 16, 10])}, 8, clip=1.0),
        "convnet": kit.classifier({"encoder": kit.convnet(), "head": kit.linear(16, 10)}, 8, 8, 1),
        "vit": kit.classifier({"tiny_vit": kit.tiny_vit(), "linear": kit.linear(16, 10)}, 8, 8, 1),
    }


OURS = "lint.isort.known-first-party = ['etude']"
CASES = [(name, framework) for name in ("mlp", "convnet", "vit") for framework in ("torch", "jax")]


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_the_emitted_source_is_the_accepted_one(name: str, framework: str, kit: Any) -> None:
    source = kit.emit(framework, stages(kit)[name]).source
    golden = kit.golden / f"{name}_{framework}.py.txt"

    if os.environ.get("ETUDE_ACCEPT"):
        golden.write_text(source)

    assert source == golden.read_text()


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_the_emitted_source_is_formatted_and_imports_what_it_uses(name: str, framework: str, kit: Any) -> None:
    path = kit.golden / f"{name}_{framework}.py.txt"
    source = path.read_text()

    formatted = _ruff("format", "--line-length=120", "-", text=source)
    options = ["--line-length=120", "--isolated", "--select=E,F,I,UP,B", f"--config={OURS}"]
    checked = _ruff("check", *options, "-", text=source)

    assert formatted.stdout == source
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["mlp", "convnet", "vit"])
def test_torch_and_jax_agree_on_losses_gradients_scores_and_steps(name: str, kit: Any) -> None:
    spec = stages(kit)[name]
    torch, jax = kit.both(spec)
    batch = kit.images(6, *((8,) if name == "mlp" else (8, 8, 1)))

    (torch_loss, torch_grads), (jax_loss, jax_grads) = torch.loss(batch), jax.loss(batch)

    assert torch_loss == pytest.approx(jax_loss, abs=1e-5)
    assert torch_grads.keys() == jax_grads.keys() == set(range(len(spec["slots"])))
    for slot, grad in torch_grads.items():
        np.testing.assert_allclose(grad, jax_grads[slot], atol=1e-5, rtol=1e-4)
    evaluated = torch.module.evaluate(torch.models, torch.tensors(batch), 0)
    assert float(evaluated["loss"]) == pytest.approx(torch_loss)
    rows = np.arange(6, dtype=np.uint32)
    right = torch.module.scores(torch.models, torch.tensors(batch), torch.torch.tensor(rows.view(np.int32)), 0)
    found = jax.module.scores(jax.module.build(jax.params, jax.rest), batch, rows, np.uint32(0))
    np.testing.assert_array_equal(right["accuracy"].numpy(), np.asarray(found["accuracy"]))
    for torch_terms, jax_terms in zip(torch.steps(batch, 4), jax.steps(batch, 4), strict=True):
        assert torch_terms == pytest.approx(jax_terms, abs=1e-4)


def test_emitting_imports_no_framework() -> None:
    code = "import sys, etude.backends.torch.emit, etude.backends.jax.emit, etude.backends.numpy.emit;"
    code += "sys.exit(bool({'torch', 'jax', 'flax', 'optax', 'numpy'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _ruff(command: str, *options: str, text: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "ruff", command, *options]
    return subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
