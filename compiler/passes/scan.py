"""Equal blocks, each on the result of the one before, as one scan over their weights: which trainings may have it.

Which it is decides a timing when the training starts (`backends/jax/scanning.py`), on JAX.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from etude.backends.emission.stacks import LEAST_BLOCKS

ELEMENT = re.compile(r"(.*)\.\d+")


def equal_blocks(spec: Mapping[str, Any]) -> int:
    """How many models of one structure the longest list in a training's losses has; 0 for too few for a scan."""
    counts = [_longest_list(sub) for step in spec["steps"] for sub in step["loss"]["subs"]]
    longest = max(counts, default=0)
    return longest if longest >= LEAST_BLOCKS else 0


def _longest_list(sub: Mapping[str, Any]) -> int:
    lists = Counter((match[1], index) for name, index in sub["children"] if (match := ELEMENT.fullmatch(name)))
    return max(lists.values(), default=0)
