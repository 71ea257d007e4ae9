"""`measure`: a row program's outputs over the rows: averaged, or collected for metrics of the whole set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from etude.runtime.arrays import Array
from etude.runtime.collecting import collected
from etude.runtime.confusions import Counts
from etude.runtime.metrics import metric
from etude.runtime.rows import row_backend, row_pieces, row_source
from etude.runtime.stages import Job, Result, StageError
from etude.runtime.stages.train import put_weights

Json = Any
BY = "#by"
TEXT = "#text."


def execute(job: Job) -> Result:
    """Measure all rows, or with `by` those of each class; over no rows there is no value, and none that is not
    finite."""
    dataset = job.dataset(0)
    by = job.spec.get("by")
    classes = None if by is None else dataset.schema(by).classes or 0
    averages, counts = TreeAverages(job, classes), Counts(job.spec, dataset)
    job = replace(job, spec=counts.spec)
    values = collected(job.store.objects, averages.taken(counts.taken(row_pieces(job, dataset))))
    values |= {name: dataset.column(name.removeprefix(TEXT)) for name in _texts(job)}
    made = {"rows": dataset.rows, "backend": row_backend(job).describe()}
    files = averages.stored()
    beside = counts.stored(job.store.objects)
    has_numbers = any(not name.startswith("#") for name in values) or {"metrics", "weighted"} & set(job.spec)
    if averages.trees and not has_numbers:
        return Result({**files, **beside}, made=made, source=row_source(job))
    if classes is None:
        found = measured(job, values)
    else:
        found = listed([measured(job, part) for part in per_class(values, classes)])
    value = found[""] if list(found) == [""] else found
    outputs = {"value": job.store.objects.put_json(value), **files, **beside}
    return Result(outputs, made=made, source=row_source(job))


def _texts(job: Job) -> set[str]:
    """The columns of text that metrics take, by their names among the values."""
    return {name for each in job.spec.get("metrics", []) for name in each["inputs"] if name.startswith(TEXT)}


class TreeAverages:
    """The means over rows of tensors and trees of them, which are added up as they come: nothing holds those of all
    rows. With `classes` there is one for each class, one after the other."""

    def __init__(self, job: Job, classes: int | None) -> None:
        self._job, self._classes = job, classes
        self._rows = 0
        self.trees: list[Json] = job.spec.get("trees", [])
        self._sums: dict[str, Array] = {}
        self._totals = {tree["port"]: np.zeros(classes or 1) for tree in self.trees}

    def taken(self, pieces: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """The pieces without the tensors that are averaged."""
        names = {name for tree in self.trees for name in tree["leaves"]}
        for piece in pieces:
            rows = len(next(iter(piece.values()), ()))
            self._rows += rows
            labels = piece[BY].astype(np.int64) if self._classes else np.zeros(rows, np.int64)
            for tree in self.trees:
                weights = piece[tree["weight"]].astype(np.float64) if "weight" in tree else None
                self._totals[tree["port"]] += np.bincount(labels, weights, len(self._totals[tree["port"]]))
                for name in tree["leaves"]:
                    self._sums[name] = self._sums.get(name, 0.0) + self._summed(piece[name], labels, weights)
            yield {name: values for name, values in piece.items() if name not in names}

    def _summed(self, values: Array, labels: Array, weights: Array | None) -> Array:
        """The sums over the rows of each class, [classes, ...]; of all rows where nothing is taken apart."""
        if weights is not None:
            values = values * weights.reshape(-1, *[1] * (values.ndim - 1))
        if not self._classes:
            whole: Array = values.sum(axis=0, dtype=np.float64)[np.newaxis]
            return whole
        sums = np.zeros((self._classes, *values.shape[1:]))
        np.add.at(sums, labels, values.astype(np.float64))
        return sums

    def stored(self) -> dict[str, str]:
        """The means by port, each as a file of its tensors. Raises `StageError` for a tree over no rows; a tensor is
        then not a number, as it is for a class without rows."""
        if not self._rows and any(not tree.get("tensor") for tree in self.trees):
            raise StageError("there are no rows to take the mean of a tree over")
        return {
            tree["port"]: put_weights(
                self._job,
                [
                    self._mean(name, total, place)
                    for place, total in enumerate(self._totals[tree["port"]])
                    for name in tree["leaves"]
                ],
            )
            for tree in self.trees
        }

    def _mean(self, name: str, total: float, place: int) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self._sums[name][place] / total, np.float32)


def per_class(values: Mapping[str, Array], classes: int) -> Iterator[dict[str, Array]]:
    """The values of the rows of each class, one class after the other."""
    for label in range(classes):
        rows = np.flatnonzero(values[BY] == label)
        yield {name: column[rows] for name, column in values.items()}


def listed(parts: list[dict[str, Json]]) -> dict[str, Json]:
    """Measured values of each class as a list for every name."""
    return {name: [part[name] for part in parts] for name in parts[0]}


def measured(job: Job, values: Mapping[str, Array]) -> dict[str, Json]:
    """Every measured value of these rows by its name; "" is the only one. Raises `StageError`."""
    found: dict[str, Json] = {name: average(column) for name, column in values.items() if not name.startswith("#")}
    for each in job.spec.get("weighted", []):
        found[each["path"]] = weighted_average(values[each["value"]], values[each["weight"]])
    rows = len(next(iter(values.values())))
    for name, value in found.items():
        if value is None and rows:
            shown = job.spec["fields"][int(name)] if name else "the measured value"
            job.warn(f"the mean of {shown} is not a finite number: it has no value")
    for each in job.spec.get("metrics", []):
        value = metric(each["name"], [values[name] for name in each["inputs"]], each["settings"])
        if value is None and rows:
            job.warn(f"{each['name']} is not defined for these {rows} rows: it has no value")
        found[each["path"]] = value
    return found


def average(values: Array) -> Json:
    """The mean over the first axis: a number, or nested lists for values that are tensors; None where there is none.

    >>> average(np.array([True, False])), average(np.empty(0))
    (0.5, None)
    """
    if not len(values):
        return None
    mean = np.mean(values, axis=0, dtype=np.float64)
    return mean.tolist() if np.isfinite(mean).all() else None


def weighted_average(values: Array, weights: Array) -> float | None:
    """sum(value * weight) / sum(weight) over rows; None where the weights sum to nothing.

    >>> weighted_average(np.array([1.0, 4.0]), np.array([2, 1]))
    2.0
    """
    if values.ndim > 1 or weights.ndim > 1:
        raise StageError(f"a weighted mean is of one number a row, got {list(values.shape[1:] or weights.shape[1:])}")
    total = np.sum(weights, dtype=np.float64)
    if total == 0 or not np.isfinite(total):
        return None
    mean = float(np.sum(values.astype(np.float64) * weights) / total)
    return mean if np.isfinite(mean) else None
