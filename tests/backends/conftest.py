"""What tests of several folders share: which device tensors are on, and whether there is a GPU."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# JAX would take three quarters of a GPU at its first use; what is tested beside it needs some, too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

TRANSFERS = {"aten.copy_.default", "aten._to_copy.default", "aten.index.Tensor"}


class OnlyOn(TorchDispatchMode):
    """Refuse every operation that takes or makes a tensor elsewhere.

    A single number may come from the host where CUDA takes it from there: into what goes element by element, and to
    index with.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        leaves = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)]
        away = [leaf for leaf in leaves if leaf.device.type != self.device]
        for leaf in away:
            assert leaf.dim() == 0, f"{func} with a tensor {tuple(leaf.shape)} on {leaf.device}"
        is_mixed = 0 < len(away) < len(leaves)
        takes_numbers = torch.Tag.pointwise in func.tags or str(func) in TRANSFERS
        assert takes_numbers or not is_mixed, f"{func} with a number on the host"
        return found


@pytest.fixture(scope="session")
def only_on() -> type[OnlyOn]:
    return OnlyOn
