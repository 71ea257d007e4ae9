"""Losses without draws: what they come to on small batches, against the formulas written in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

Array = Any
BATCH, WIDTH = 6, 5


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def nce(a: Array, b: Array, temperature: float) -> Array:
    p = softmax(unit(a) @ unit(b).T / temperature)
    return -np.log(np.diag(p)).mean()


def supcon(z: Array, label: Array) -> Array:
    logits = unit(z) @ unit(z).T / 0.1
    losses = []
    for i in range(BATCH):
        others = [j for j in range(BATCH) if j != i]
        total = np.log(np.exp(logits[i, others]).sum())
        mates = [j for j in others if label[j] == label[i]]
        losses.append(np.mean([total - logits[i, j] for j in mates]) if mates else 0.0)
    return np.mean(losses)


def covariance(z: Array) -> Array:
    matrix = np.cov(z.T, bias=False)
    return (matrix**2).sum() - (np.diag(matrix) ** 2).sum()


def vicreg(a: Array, b: Array) -> Array:
    short = sum(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (a, b))
    return 25 * ((a - b) ** 2).mean() + 12.5 * short + (covariance(a) + covariance(b)) / WIDTH


def barlow(a: Array, b: Array) -> Array:
    matrix = ((a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5)).T @ ((b - b.mean(0)) / np.sqrt(b.var(0) + 1e-5)) / BATCH
    diagonal = np.diag(matrix)
    return ((1 - diagonal) ** 2).sum() + 0.005 * ((matrix**2).sum() - (diagonal**2).sum())


def nt_xent(a: Array, b: Array) -> Array:
    z = unit(np.concatenate([a, b]))
    logits = z @ z.T / 0.5
    np.fill_diagonal(logits, -np.inf)
    return -np.mean([np.log(softmax(logits)[i, (i + BATCH) % (2 * BATCH)]) for i in range(2 * BATCH)])


def focal(a: Array, label: Array) -> Array:
    p = softmax(a)[np.arange(BATCH), label]
    return -((1 - p) ** 2 * np.log(p)).mean()


def margin(a: Array, label: Array) -> Array:
    right = a[np.arange(BATCH), label][:, None]
    gaps = np.maximum(0, a - right + 1)
    gaps[np.arange(BATCH), label] = 0
    return gaps.max(-1).mean()


def huber(a: Array, b: Array) -> Array:
    gap = np.abs(a - b)
    return np.where(gap <= 1, gap**2 / 2, gap - 0.5).mean()


def dice(a: Array, b: Array) -> Array:
    p, m = 1 / (1 + np.exp(-a)), b > 0
    return np.mean([1 - (2 * p[i][m[i]].sum() + 1) / (p[i].sum() + m[i].sum() + 1) for i in range(BATCH)])


def triplet(a: Array, b: Array) -> Array:
    far = np.linalg.norm(a - np.roll(b, 1, 0), axis=-1)
    return np.maximum(0, np.linalg.norm(a - b, axis=-1) - far + 1).mean()


def pairs(a: Array, b: Array, label: Array) -> Array:
    gap = np.linalg.norm(a - b, axis=-1)
    return np.where(label == 0, gap**2, np.maximum(0, 1 - gap) ** 2).mean()


CASES: dict[str, tuple[str, Callable[[Array, Array, Array], Array]]] = {
    "focal": ("focal(a, y)", lambda a, b, y: focal(a, y)),
    "margin": ("margin_loss(a, y)", lambda a, b, y: margin(a, y)),
    "huber": ("huber(a, b)", lambda a, b, y: huber(a, b)),
    "cosine": ("cosine_distance(a, b)", lambda a, b, y: 1 - (unit(a) * unit(b)).sum(-1).mean()),
    "entropy": ("prediction_entropy(a)", lambda a, b, y: -(softmax(a) * np.log(softmax(a))).sum(-1).mean()),
    "soft": ("soft_cross_entropy(a, softmax(b))", lambda a, b, y: -(softmax(b) * np.log(softmax(a))).sum(-1).mean()),
    "smoothed": (
        "smoothed_cross_entropy(a, y, share = 0.2)",
        lambda a, b, y: -np.mean(0.8 * np.log(softmax(a))[np.arange(BATCH), y] + 0.2 * np.log(softmax(a)).mean(-1)),
    ),
    "rows": (
        'max(cross_entropy(a, y, reduce = "row"))',
        lambda a, b, y: -np.log(softmax(a)[np.arange(BATCH), y]).min(),
    ),
    "nce": ("info_nce(a, b, temperature = 0.5)", lambda a, b, y: nce(a, b, 0.5)),
    "clip": ("clip_loss(a, b, temperature = 0.5)", lambda a, b, y: (nce(a, b, 0.5) + nce(b, a, 0.5)) / 2),
    "triplet": ("triplet(a, b, roll(b, shift = 1))", lambda a, b, y: triplet(a, b)),
    "pair": ("pair_loss(a, b, y == 0)", pairs),
    "supcon": ("supcon(a, y)", lambda a, b, y: supcon(a, y)),
    "vicreg": ("of(vicreg_loss(a, b))", lambda a, b, y: vicreg(a, b)),
    "barlow": ("barlow_loss(a, b)", lambda a, b, y: barlow(a, b)),
    "masked": ("masked_mse(a, b, a > 0)", lambda a, b, y: ((a - b) ** 2)[a > 0].mean()),
    "divergence": ("kl_normal(a, b)", lambda a, b, y: 0.5 * (a**2 + np.exp(b) - 1 - b).sum(-1).mean()),
    "critic": (
        "hinge_critic(a, b) + hinge_maker(b)",
        lambda a, b, y: np.maximum(0, 1 - a).mean() + np.maximum(0, 1 + b).mean() - b.mean(),
    ),
    "dice": ("dice(a, b > 0)", lambda a, b, y: dice(a, b)),
    "dpo": (
        "dpo(a[:, 0], a[:, 1], b[:, 0], b[:, 1])",
        lambda a, b, y: np.log1p(np.exp(-0.1 * ((a - b)[:, 0] - (a - b)[:, 1]))).mean(),
    ),
    "taught": (
        "kd(a, b, temperature = 2.0)",
        lambda a, b, y: -4 * (softmax(b / 2) * np.log(softmax(a / 2))).sum(-1).mean(),
    ),
    "contrast": ("nt_xent(a, b)", lambda a, b, y: nt_xent(a, b)),
    "sorted": (
        "dino_loss(a, b, 0.1 * b[0])",
        lambda a, b, y: -(softmax((b - 0.1 * b[0]) / 0.04) * np.log(softmax(a / 0.1))).sum(-1).mean(),
    ),
    "bound": (
        "terms(elbo(a, b, a, b, beta = 0.5))",
        lambda a, b, y: 0.5 * ((a - b) ** 2).sum(-1).mean() + 0.25 * (a**2 + np.exp(b) - 1 - b).sum(-1).mean(),
    ),
    "known": ("sum(log_prob(a, y))", lambda a, b, y: np.log(softmax(a)[np.arange(BATCH), y]).sum()),
    "turned": (
        "mean(square(noised(a, b, sigmoid(a[:, 0]))))",
        lambda a, b, y: (
            (np.cos(np.pi / 2 / (1 + np.exp(-a[:, :1]))) * a + np.sin(np.pi / 2 / (1 + np.exp(-a[:, :1]))) * b) ** 2
        ).mean(),
    ),
    "curved": ("sum(hvp(sum(a ** 3), a, b))", lambda a, b, y: (6 * a * b).sum()),
    "penalty": (
        "gradient_penalty(x => x[:, 0] + 2 * x[:, 1] + 2 * x[:, 3], a, b)",
        lambda a, b, y: 4.0,  # the slope has length 3 everywhere
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], tuple[Array, Array, Array]]:
    """What all losses come to in one run, and on what."""
    base = tmp_path_factory.mktemp("values")
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(2, BATCH, WIDTH)).astype(np.float32)
    y = np.array([0, 1, 2, 1, 0, 4], np.int32)
    np.savez(base / "batches.npz", a=a[None], b=b[None], y=y[None])
    entries = ", ".join(f"{name}: {code}" for name, (code, _) in CASES.items())
    text = f"""
        fn of(terms) = terms.invariance + terms.variance + terms.covariance
        fn terms(both) = both.reconstruction + both.divergence
        found = measure(on = load("batches.npz"), ({{a, b, y}}) => {{{entries}}})
        {" ".join(f"{name}_value = found.{name}" for name in CASES)}
    """
    compilation = compile_text(text, "values.etude", base)
    assert compilation.workflow is not None, [d.message for d in compilation.diagnostics]
    made = run(compilation.workflow, store=Store(base / "store"), backend="torch", base=base, jobs=1)
    assert not made.failed
    return {name: made.metrics[f"{name}_value"] for name in CASES}, (a.astype(float), b.astype(float), y)


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_what_its_formula_says(name: str, found: Any) -> None:
    values, batch = found
    assert values[name] == pytest.approx(float(CASES[name][1](*batch)), rel=2e-4, abs=1e-5)
