"""`split`: disjoint parts of a dataset, by shares or equal, by rows, by whole groups, by classes or in time."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from etude.runtime.sampling import divide, divide_groups, divide_ordered, exact
from etude.runtime.stages import Job, Result, StageError


def execute(job: Job) -> Result:
    """Divide the rows; the outputs are one dataset per part."""
    dataset, spec = job.dataset(0), job.spec
    parts = part_shares(spec)
    shares = list(parts.values())
    group, stratify = spec.get("group"), spec.get("stratify")
    if spec.get("classes"):
        column, groups = spec["classes"]
        labels = dataset.column(column)
        indices = [np.flatnonzero(np.isin(labels, numbers)) for numbers in groups]
    elif spec.get("by"):
        indices = divide_ordered(dataset.column(spec["by"]), shares)
    elif group is not None:
        if stratify is not None:
            raise StageError("a split keeps either whole groups or the proportions of a column, not both")
        indices = divide_groups(dataset.column(group), shares, spec["seed"])
    else:
        classes = None if stratify is None else dataset.column(stratify)
        indices = divide(dataset.ids, shares, spec["seed"], classes)
    pieces = {name: dataset.select(rows) for name, rows in zip(parts, indices, strict=True)}
    outputs = {name: piece.save() for name, piece in pieces.items()}
    made = {"rows": {name: piece.rows for name, piece in pieces.items()}}
    return Result(outputs, set().union(*(piece.objects() for piece in pieces.values())), made)


def part_shares(spec: Mapping[str, Any]) -> dict[str, Fraction]:
    """The share of each part by its name; `"parts": 8` is eight equal parts "0" to "7"."""
    parts = spec["parts"]
    if isinstance(parts, int):
        return {str(i): Fraction(1, parts) for i in range(parts)}
    shares = {name: exact(share) for name, share in parts}
    if sum(shares.values()) > 1:
        raise StageError(f"the parts of a split sum to {float(sum(shares.values())):.4g}, which is more than all")
    return shares
