from __future__ import annotations

from pathlib import Path

import numpy as np

from etude.backends.weights import load_weights, save_weights, weights_bytes

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3).T, np.array(2.5, np.float32), np.zeros((0, 4), np.float32)]


def test_weights_come_back_in_order_with_their_shapes(tmp_path: Path) -> None:
    many = [np.full((i % 3,), i, np.float32) for i in range(12)]
    for weights in (WEIGHTS, many):
        save_weights(tmp_path / "w.safetensors", weights)

        loaded = load_weights(tmp_path / "w.safetensors")
        assert [weight.shape for weight in loaded] == [weight.shape for weight in weights]
        for a, b in zip(loaded, weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_equal_weights_are_equal_bytes_whatever_their_layout() -> None:
    assert weights_bytes(WEIGHTS) == weights_bytes([np.array(weight, order="F") for weight in WEIGHTS])
