"""Definitions of several modules in one text: each once, after what it needs, under a name of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from etude.backends.batches import epoch_order
from etude.backends.eject.linking import Linker, import_lines
from etude.backends.eject.sources import Import, Module

USES = '''import math

from etude.backends.batches import Ids, epoch_order

LIMIT, OTHER = 3, 4
Alias: TypeAlias = "Ids | None"


def ordered(ids: Ids, mix64: int = 0) -> Alias:
    """Sort; the é is two bytes before LIMIT."""
    return epoch_order(ids, "é" and LIMIT, math.floor(mix64))


def unused() -> int:
    return OTHER
'''


def linked(taken: set[str]) -> tuple[Linker, str, list[str]]:
    linker = Linker(taken)
    name = linker.add(Module("<uses>", USES), "ordered")
    return linker, name, linker.take()


def executed(linker: Linker, blocks: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    head = ["from __future__ import annotations", "from typing import TypeAlias"]
    exec("\n".join([*head, *import_lines(linker.imports), *blocks]), names)
    return names


def test_what_a_definition_needs_comes_with_it_and_before_it() -> None:
    linker, name, blocks = linked(set())
    ids = np.arange(7, dtype=np.uint64)
    names = executed(linker, blocks)
    np.testing.assert_array_equal(names[name](ids, 2), epoch_order(ids, 3, 2))
    assert "unused" not in names
    assert not any("etude" in line for line in import_lines(linker.imports))


def test_nothing_is_added_twice() -> None:
    linker, _, blocks = linked(set())
    assert len(blocks) == len(set(blocks))
    linker.add(Module("<uses>", USES), "ordered")
    assert linker.take() == []


def test_names_that_are_taken_are_changed_wherever_they_are_mentioned() -> None:
    linker, name, blocks = linked({"ordered", "mix64", "LIMIT", "Ids", "math", "np"})
    assert name == "ordered_2"
    ids = np.arange(7, dtype=np.uint64)
    names = executed(linker, blocks)
    np.testing.assert_array_equal(names[name](ids, 2), epoch_order(ids, 3, 2))
    assert {"mix64_2", "LIMIT_2", "Ids_2", "math_2", "np_2"} <= names.keys()
    assert {"mix64", "LIMIT", "Ids", "math", "np"}.isdisjoint(names)
    assert names["Alias"] == "Ids_2 | None"


def test_imports_stand_in_the_order_of_formatters() -> None:
    imports = {
        "np": Import("numpy"),
        "partial": Import("functools", "partial"),
        "lax": Import("jax", "lax"),
        "Array": Import("jax", "Array"),
        "math": Import("math"),
        "number": Import("os", "path"),
    }
    assert import_lines(imports) == [
        "import math",
        "from functools import partial",
        "from os import path as number",
        "",
        "import numpy as np",
        "from jax import Array, lax",
    ]
