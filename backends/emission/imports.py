"""Find out which imports a text needs, without importing any framework."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from etude.backends.emission.optimizers import OWN
from etude.backends.numerics import Random
from etude.backends.ops.spelling import Framework

BACKENDS = Path(__file__).parent.parent
DEFINITION = re.compile(r"^def ([a-z]\w*)\(", re.MULTILINE)
CALLED = re.compile(r"(?<![\w.])([a-z_]\w*)\(")

RANDOM_MODULES: dict[Random, str] = {"portable": "random", "native": "native_random as random"}
# (what shows that an import is needed, the import), in the order that the formatter of the project wants.
STATEMENTS: dict[Framework, tuple[tuple[tuple[str, str], ...], ...]] = {
    "numpy": ((("np.", "import numpy as np"),),),
    "torch": (
        (("Callable", "from collections.abc import Callable"),),
        (
            ("torch.", "import torch"),
            ("F.", "import torch.nn.functional as F"),
            ("Tensor", "from torch import Tensor"),
            ("nn.", "from torch import nn"),
        ),
    ),
    "jax": (
        (("partial(", "from functools import partial"), ("Any", "from typing import Any")),
        (
            ("jax.", "import jax"),
            ("jnp.", "import jax.numpy as jnp"),
            ("optax.", "import optax"),
            ("nnx.", "from flax import nnx"),
            ("Array", "from jax import Array"),
            ("lax.", "from jax import lax"),
        ),
    ),
}


def import_lines(text: str, framework: Framework, random: Random = "portable") -> list[str]:
    """The import statements for `text`, in blocks with empty lines between; `random` says where draws come from."""
    blocks = [_joined([line for sign, line in block if _has(text, sign)]) for block in STATEMENTS[framework]]
    ours = []
    if _has(text, "random."):
        ours.append(f"from etude.backends.{framework} import {RANDOM_MODULES[random]}")
    called = set(CALLED.findall(text))
    names = sorted(called & function_names(framework))
    if _has(text, "accumulated("):
        ours.append(f"from etude.backends.{framework}.accumulation import accumulated")
    blocks_of = [name for name in ("over_blocks", "separate") if _has(text, f"{name}(")]
    if blocks_of:
        ours.append(f"from etude.backends.{framework}.blocks import {', '.join(blocks_of)}")
    if names:
        ours.append(f"from etude.backends.{framework}.functions import {', '.join(names)}")
    own = sorted(name for name in OWN.values() if framework == "torch" and _has(text, f"{name}("))
    helpers = [name for name in ("rebuild", "values_at") if _has(text, f"{name}(")]
    if helpers:
        ours.append(f"from etude.backends.{framework}.modules import {', '.join(helpers)}")
    if own:
        ours.append(f"from etude.backends.{framework}.optimizers import {', '.join(own)}")
    lines: list[str] = []
    for block in [*blocks, ours]:
        lines += ["", *block] if lines and block else block
    return lines


@cache
def function_names(framework: Framework) -> frozenset[str]:
    """What `etude.backends.<framework>.functions` defines."""
    return frozenset(DEFINITION.findall((BACKENDS / framework / "functions.py").read_text()))


def _has(text: str, sign: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(sign)}", text) is not None


def _joined(lines: list[str]) -> list[str]:
    """Merge `from a import b` and `from a import c`."""
    merged: dict[str, str] = {}
    for line in lines:
        head, found, name = line.partition(" import ") if line.startswith("from ") else (line, "", "")
        merged[head] = f"{merged[head]}, {name}" if head in merged else head + found + name
    return list(merged.values())
