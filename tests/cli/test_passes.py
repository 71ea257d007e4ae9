"""`--no-pass` and `--strict`: what may change bits is left out, and so are results that were made with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
DEEP = """
model block()(x) { return x + tanh(linear(x.shape[-1])(x)) }
model tower(depth: int)(x) {
  blocks = [block() for _ in 1..depth]
  return chain(blocks)(x)
}
points = rows([{x: [1.0, 2.0], y: 1.0}, {x: [2.0, 1.0], y: 0.0}])
t = train(on = points, update = {net: tower(6)}) {
  loss   = ({x, y}, {net}) => mean((net(x)[:, 0] - y) ** 2)
  budget = 3steps
}
report { error = measure(points, row => (t.net(row.x)[0] - row.y) ** 2) }
"""


@pytest.fixture
def deep(folder: Path) -> str:
    (folder / "deep.etude").write_text(DEEP)
    return "deep.etude"


def train_stage(shown: Any) -> Any:
    (stage,) = (stage for stage in shown.json["stages"] if stage["kind"] == "train")
    return stage


def test_what_a_scan_has_made_is_made_again_where_bits_matter(cli: Cli, deep: str) -> None:
    planned = train_stage(cli("plan", deep, "--backend", "jax", "--json"))
    first = train_stage(cli("run", deep, "--backend", "jax", "--json"))
    strict = train_stage(cli("run", deep, "--backend", "jax", "--strict", "--json"))
    again = train_stage(cli("run", deep, "--backend", "jax", "--json"))

    assert planned["pass"] == ["scan"]
    assert "6 equal blocks" in cli("plan", deep, "--backend", "jax", "--store", "other").out
    chosen = first["made"]["rewrites"]["scan"]
    assert chosen["blocks"] == 6 and "scan" in chosen["seconds"]
    assert strict["action"] == ("run" if chosen["is_used"] else "cached")
    assert ("rewrites" in strict["made"]) is (not chosen["is_used"])
    assert (again["action"], again["key"], strict["key"]) == ("cached", first["key"], first["key"])


def test_a_pass_that_is_left_out_has_no_part_in_a_run(cli: Cli, deep: str) -> None:
    run = cli("run", deep, "--backend", "jax", "--no-pass", "scan", "--json").json
    made = train_stage(cli("show", "--json"))["made"]

    assert "rewrites" not in made
    assert run["executed"] > 0
