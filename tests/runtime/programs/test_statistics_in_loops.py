"""Running statistics of models that are called in loops, scans, branches and with other weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etude.backends.base import Backend
from etude.backends.parity import compare_train
from etude.compiler.workflow import Workflow

from .conftest import Columns, spec_of

RECIPE = """
model centred(rate: float = 0.5)(x) {
  middle = running(mean(x, axis = 0), rate)
  return (x - middle) * weight([x.shape[-1]], init = ones)
}
model cell()(x) {
  turned = x @ tensor([[0.5, -0.2, 0.1], [0.3, 0.8, -0.4], [-0.6, 0.2, 0.7]])
  return tanh(centred()(turned))
}
model tower()(x) {
  part = cell()
  return BODY
}
net = tower()
t = train(on = points, update = {net: net}) {
  loss = row => mean(square(net(stacked(row))[:, 0] - row.y))
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 4steps
}
"""
ROLLED = {
    "loop": "loop (h = x, i in 1..3) { return part(h) }",
    "nested": "loop (h = x, i in 1..2) { return loop (g = part(h), j in 1..2) { return part(g) + h } }",
    "a scan": "scan(stack([x, 2 * x]), from = x, (h, u) => {next: part(h) + u, out: mean(part(u))}).last",
    "a constant": "loop (h = x, i in 1..2) { return h + part(x) }",
    "unread": "loop (h = x, i in 1..2) { y = part(h)  return tanh(h) } + part(x)",
    "a branch": "choose(int(sum(x) > 0), [part, h => h])(x) + choose(1, [h => h, h => part(part(h))])(x)",
}
UNROLLED = {
    "loop": "part(part(part(x)))",
    "nested": "{ a = part(part(part(x)) + x) + x  return part(part(part(a)) + a) + a }",
    "a scan": "{ a = part(x) + x  b = 0 * part(x)  c = part(a)  d = 0 * part(2 * x)  return c + 2 * x + b + d }",
    "a constant": "{ a = part(x)  return x + a + part(x) }",
    "unread": "{ a = part(x)  b = part(tanh(x))  return tanh(tanh(x)) + part(x) + 0 * (a + b) }",
}


def body(text: str) -> str:
    """A tower with this result, or with this body."""
    whole = text.removeprefix("{").removesuffix("}") if text.startswith("{ a") else f"return {text}"
    return RECIPE.replace("return BODY", whole)


def trained(backend: Backend, recipe: Workflow, table: Columns, ids: Any, folder: Path) -> list[np.ndarray]:
    folder.mkdir()
    result = backend.train(
        spec_of(recipe, "train"), table, ids, None, {}, folder, emit=lambda event: None, stop=lambda: False
    )
    return list(result.weights)


@pytest.mark.parametrize("name", UNROLLED)
def test_statistics_move_in_every_round_as_they_do_one_after_the_other(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, ids: Any, tmp_path: Path, name: str
) -> None:
    rolled, unrolled = compiled(body(ROLLED[name])), compiled(body(UNROLLED[name]))
    found = trained(backend, rolled, table, ids, tmp_path / "rolled")
    expected = trained(backend, unrolled, table, ids, tmp_path / "unrolled")
    shapes = sorted(weight.shape for weight in found)

    assert shapes == sorted(weight.shape for weight in expected) == [(3,), (3,)]
    slots = [[slot.get("running", False) for slot in spec_of(each, "train")["slots"]] for each in (rolled, unrolled)]
    for is_running in (False, True):
        mine, theirs = (
            [w for w, flag in zip(weights, flags, strict=True) if flag == is_running]
            for weights, flags in zip((found, expected), slots, strict=True)
        )
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(next(w for w, flag in zip(found, slots[0], strict=True) if flag)).max() > 0.01


@pytest.mark.parametrize("name", ROLLED)
def test_statistics_in_loops_agree_across_backends(
    both: list[Backend], compiled: Callable[[str], Workflow], table: Columns, ids: Any, name: str
) -> None:
    spec = spec_of(compiled(body(ROLLED[name])), "train")
    found = compare_train(both, spec, table, ids, None, {}, steps=4)

    assert found["loss_difference"] <= 1e-5 and found["agrees"]


def test_statistics_of_a_branch_move_only_where_it_is_taken(
    backend: Backend, compiled: Callable[[str], Workflow], table: Columns, ids: Any, tmp_path: Path
) -> None:
    moved = []
    for place in (0, 1):
        recipe = body(f"choose({place} * int(sum(x * x) > 0), [h => h * sum(part(0 * x) * 0 + 1), part])(x)")
        other = recipe.replace("part(0 * x) * 0 + 1", "x * 0 + 1")
        weights = trained(backend, compiled(other), table, ids, tmp_path / str(place))
        flags = [slot.get("running", False) for slot in spec_of(compiled(other), "train")["slots"]]
        moved.append(max(np.abs(w).max() for w, flag in zip(weights, flags, strict=True) if flag))

    assert moved[0] == 0 and moved[1] > 0


INNER = """
net = linear(4) >> batch_norm(rate = 0.5) >> tanh >> linear(1)
t = train(on = points, update = {net: net}) {
  loss = row => {
    x = stacked(row)
    TERMS
  }
  optimizer = sgd(lr = 0.1)
  batch     = 8
  budget    = 4steps
}
"""
TERMS = {
    "descent": """
    fast = descend(net, m => mean(square(m(x)[:, 0] - row.y)), steps = 2, lr = 0.1)
    return mean(square(fast(x)[:, 0] - row.y))""",
    "tree": "seen = net(x)  return mean(square(net.with(2 * weights(net))(x)[:, 0] - row.y))",
    "descents in a loop": """
    total = loop (s = 0.0, i in 1..2) {
      fast = descend(net, m => mean(square(m(x + i)[:, 0] - row.y)), steps = 1, lr = 0.1)
      return s + mean(square(fast(x)[:, 0] - row.y))
    }
    return total""",
    "slopes in a loop": """
    worst = loop (h = x, i in 1..2) {
      return h + 0.1 * sign(grad(mean(square(net(h)[:, 0] - row.y)), wrt = h))
    }
    return mean(square(net(worst)[:, 0] - row.y))""",
}


@pytest.mark.parametrize("name", TERMS)
def test_statistics_with_other_weights_agree_across_backends(
    both: list[Backend], compiled: Callable[[str], Workflow], table: Columns, ids: Any, name: str
) -> None:
    spec = spec_of(compiled(INNER.replace("TERMS", TERMS[name].strip())), "train")
    found = compare_train(both, spec, table, ids, None, {}, steps=4)

    assert found["loss_difference"] <= 1e-4 and found["agrees"]


def test_a_call_with_other_weights_moves_the_statistics_of_the_model(
    backends: Mapping[str, Backend], compiled: Callable[[str], Workflow], table: Columns, ids: Any, tmp_path: Path
) -> None:
    same = INNER.replace("TERMS", "y = 0 * net(x)  return mean(square(net.with(weights(net))(x)[:, 0] - row.y))")
    plain = INNER.replace("TERMS", "y = 0 * net(x)  return mean(square(net(x)[:, 0] - row.y))")
    found = trained(backends["torch"], compiled(same), table, ids, tmp_path / "same")
    expected = trained(backends["torch"], compiled(plain), table, ids, tmp_path / "plain")

    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("mean(each(x, u => mean(net(u[newaxis]))))", ["E410"]),
        ("mean(each(x, u => mean(loop (v = u, i in 1..2) { return v + mean(net(v[newaxis])) })))", ["E410"]),
        ("mean(each(x, u => mean(u) * mean(net(x))))", []),
        ("mean(each(x, u => mean(start(net)(u[newaxis])))) + mean(net(x))", []),
        ("mean(each(x, u => mean(frozen(net)(u[newaxis])))) + mean(net(x))", []),
    ],
)
def test_an_element_is_no_batch(codes: Callable[[str], list[str]], term: str, found: list[str]) -> None:
    assert codes(INNER.replace("TERMS", f"return {term}")) == found
