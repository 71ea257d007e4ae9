"""How many rows of each class a classifier takes for each: what a measure of one keeps beside its result, for people.

The counts are no part of what the stage gives, nor of its key: a result that was stored without them is as good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from etude.backends.base import Array
    from etude.runtime.datasets import Dataset
    from etude.runtime.store import Objects

Json = Any
PORT = "confusion"
MOST_CLASSES = 100
METRICS = {"f1", "precision", "recall", "balanced_accuracy", "matthews", "confusion_counts"}


class Comparison(NamedTuple):
    """A class number that a row program compares with a label: ids of its values. `path` is the output it ends in."""

    path: str
    column: str
    guess: int
    label: int


@dataclass(frozen=True)
class RootProgram:
    """The row function of a serialised program, as far as it tells what is compared with labels."""

    data: Mapping[str, Json]

    def comparisons(self, spec: Mapping[str, Json], labels: Mapping[str, int]) -> list[Comparison]:
        """What is compared with the columns `labels`, in the order of the outputs, each pair once."""
        columns = {id: name for name, id, _ in self.data["inputs"] if name in labels}
        outputs = {name: value for name, value in self.data["outputs"] if isinstance(value, int)}
        found = [(path, *pair) for path, value in outputs.items() if path[:1] != "#" for pair in self._equals(value)]
        for each in spec.get("metrics", ()):
            if each["name"] in METRICS:
                found.append((each["path"], *(outputs.get(name) for name in each["inputs"])))
        pairs: dict[tuple[Any, Any], Comparison] = {}
        for path, *sides in found:
            for guess, label in (sides, sides[::-1]):
                if isinstance(label, int) and label in columns and self._is_guess(guess, label):
                    pairs.setdefault((guess, label), Comparison(path, columns[label], guess, label))
        return list(pairs.values())

    def _equals(self, value: int) -> Iterator[tuple[Json, Json]]:
        """The operands of the equalities that an output is made from."""
        for place in sorted(self._behind(value)):
            operation = self._made.get(place)
            if operation and operation[0] == "eq":
                yield operation[1][0], operation[1][1]

    def _is_guess(self, value: Json, label: int) -> bool:
        """Whether a value is one class number a row that comes from more than the label itself."""
        inputs = {id for _, id, _ in self.data["inputs"]}
        return (
            isinstance(value, int)
            and self._types[value] == ["int32", []]
            and bool(self._behind(value) & inputs - {label})
        )

    def _behind(self, value: int) -> set[int]:
        """A value and all that it is made from."""
        found, waiting = {value}, [value]
        while waiting:
            _, operands = self._made.get(waiting.pop(), ("", ()))
            new = {operand for operand in operands if isinstance(operand, int)} - found
            found |= new
            waiting += new
        return found

    @cached_property
    def _made(self) -> Mapping[int, tuple[str, list[Json]]]:
        return {id: (name, operands) for name, operands, _, results in self.data["ops"] for id, _ in results}

    @cached_property
    def _types(self) -> Mapping[Json, Json]:
        results = ((id, type) for _, _, _, values in self.data["ops"] for id, type in values)
        return {id: type for _, id, type in self.data["inputs"]} | dict(results)


class Counts:
    """The counts of a measure in the making. `spec` is the stage's with what is compared as further outputs."""

    def __init__(self, spec: Mapping[str, Json], dataset: Dataset) -> None:
        program = spec["program"]
        *others, root = program["subs"]
        self._sizes = {
            name: column.schema.classes
            for name, column in dataset.columns.items()
            if column.schema.kind == "label" and 1 < (column.schema.classes or 0) <= MOST_CLASSES
        }
        self._pairs = RootProgram(root).comparisons(spec, self._sizes) if self._sizes else []
        self._names = {name: dataset.schema(name).class_names for name in self._sizes}
        self._found = [np.zeros(self._sizes[pair.column] ** 2, np.int64) for pair in self._pairs]
        self._fits = [True] * len(self._pairs)
        more = [[f"#{side}.{i}", getattr(p, side)] for i, p in enumerate(self._pairs) for side in ("guess", "label")]
        root = {**root, "outputs": [*root["outputs"], *more]}
        self.spec = {**spec, "program": {**program, "subs": [*others, root]}} if more else spec

    def taken(self, pieces: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """The pieces without what was added, which is counted."""
        for piece in pieces:
            rest = dict(piece)
            for i in range(len(self._pairs)):
                self._add(i, rest.pop(f"#guess.{i}"), rest.pop(f"#label.{i}"))
            yield rest

    def _add(self, i: int, guesses: Array, labels: Array) -> None:
        size = self._sizes[self._pairs[i].column]
        if not len(guesses) or not self._fits[i]:
            return
        self._fits[i] = bool(guesses.min() >= 0 and guesses.max() < size)  # numbers above are no classes of the label
        if self._fits[i]:
            self._found[i] += np.bincount(labels.astype(np.int64) * size + guesses, minlength=size * size)

    def stored(self, objects: Objects) -> dict[str, str]:
        """The counts as an artifact of their port, if there are any: [label][prediction] for each comparison."""
        found: list[Json] = []
        for pair, counts, fits in zip(self._pairs, self._found, self._fits, strict=True):
            size = self._sizes[pair.column]
            table = {
                "of": None,
                "label": pair.column,
                "classes": list(self._names[pair.column] or map(str, range(size))),
                "counts": counts.reshape(size, size).tolist(),
            }
            if fits and counts.any() and table not in [{**each, "of": None} for each in found]:
                found.append({**table, "of": pair.path})
        return {PORT: objects.put_json(found)} if found else {}
