"""The data of the speed baselines: scikit-learn's digits and one fixed order of batches for every loop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int32]


def load() -> tuple[Images, Labels]:
    """1,797 images (n, 8, 8, 1) in 0..1 and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[..., None] / 16).astype(np.float32), data.target.astype(np.int32)


def batches(rows: int, batch: int, steps: int, seed: int = 0) -> NDArray[np.int64]:
    """Row indices (steps, batch) of an endless permuted stream of epochs."""
    generator = np.random.default_rng(seed)
    epochs = -(-steps * batch // rows)
    return np.concatenate([generator.permutation(rows) for _ in range(epochs)])[: steps * batch].reshape(steps, batch)
