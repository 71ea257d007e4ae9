"""Ends of trainings are known by slots and places, whatever models and states are called."""

from __future__ import annotations

import numpy as np
import pytest

from etude.backends.takeover import OtherRunError, Places, check_places

JAX = ["0 b.w", "1 net.w", "center", "[0].count", "[0].mu['b.w']", "[0].mu['net.w']"]
RENAMED = ["0 z.w", "1 net.w", "middle", "[0].count", "[0].mu['net.w']", "[0].mu['z.w']"]
TORCH = ["3 net.w", "1 head.w", "1 head.w learned by AdamW", "3 net.w learned by AdamW"]


def test_parts_of_optimizers_that_a_framework_orders_by_names_find_their_weights() -> None:
    before, now = Places.of(JAX), Places.of(RENAMED)
    check_places(before, now)
    state = {"weights.0": 0, "state.center": 1, "optimizer.0": 2, "optimizer.1": 3, "optimizer.2": 4}
    arrays = {name: np.array(value) for name, value in state.items()}
    found = now.restored(before.stored(arrays))
    assert {name: int(value) for name, value in found.items()} == {
        "weights.0": 0, "state.middle": 1, "optimizer.0": 2, "optimizer.2": 3, "optimizer.1": 4,
    }  # fmt: skip


@pytest.mark.parametrize("layout", [JAX, RENAMED, TORCH])
def test_what_is_stored_is_read_as_what_it_was(layout: list[str]) -> None:
    stored = Places.of(layout)
    assert Places.of(stored.entries).entries == stored.entries


def test_other_weights_are_refused() -> None:
    with pytest.raises(OtherRunError, match="has weight 3 learned by AdamW where this one has weight 3 learned by SGD"):
        check_places(Places.of(TORCH), Places.of([*TORCH[:-1], "3 net.w learned by SGD"]))
    with pytest.raises(OtherRunError, match="has 4 weights and parts of optimizers, this one has 3"):
        check_places(Places.of(TORCH), Places.of(TORCH[:-1]))
