"""How many rows of each class a classifier takes for each: what a measure of one keeps beside its result, for people.

The counts are no part of what the stage gives, nor of its key: a result that was stored without them is as good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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

    def comparisons(self, spec: Mapping[str, Json], labels: Collection[str]) -> list[Comparison]:
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
    """The counts of a measure in the making. `spec` is the stage's with what is compared among its outputs."""

    def __init__(self, spec: Mapping[str, Json], dataset: Dataset) -> None:
        program = spec["program"]
        *others, root = program["subs"]
        schemas = {name: column.schema for name, column in dataset.columns.items() if column.schema.kind == "label"}
        self._schemas = {name: each for name, each in schemas.items() if 1 < (each.classes or 0) <= MOST_CLASSES}
        self._pairs = RootProgram(root).comparisons(spec, self._schemas) if self._schemas else []
        self._labels = {pair.column: dataset.column(pair.column) for pair in self._pairs}
        self._found = [np.zeros((self._size(pair), self._size(pair)), np.int64) for pair in self._pairs]
        self._fits, self._row = [True] * len(self._pairs), 0
        outputs = {value: name for name, value in root["outputs"] if isinstance(value, int)}
        self._added = {p.guess: f"#guess.{i}" for i, p in enumerate(self._pairs) if p.guess not in outputs}
        self._outputs = {**outputs, **self._added}
        more = [[name, value] for value, name in self._added.items()]
        root = {**root, "outputs": [*root["outputs"], *more]}
        self.spec = {**spec, "program": {**program, "subs": [*others, root]}} if more else spec

    def _size(self, pair: Comparison) -> int:
        return self._schemas[pair.column].classes or 0

    def taken(self, pieces: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """The pieces of consecutive rows, counted, without what was added to them."""
        added = set(self._added.values())
        for piece in pieces:
            for place, pair in enumerate(self._pairs):
                self._count(place, piece[self._outputs[pair.guess]])
            self._row += len(next(iter(piece.values()), ()))
            yield {name: values for name, values in piece.items() if name not in added}

    def _count(self, place: int, guesses: Array) -> None:
        pair, size = self._pairs[place], self._size(self._pairs[place])
        if not len(guesses) or not self._fits[place]:
            return
        self._fits[place] = bool(guesses.min() >= 0 and guesses.max() < size)  # what is above is no class of the label
        if self._fits[place]:
            labels = self._labels[pair.column][self._row : self._row + len(guesses)]
            counts = np.bincount(labels.astype(np.int64) * size + guesses, minlength=size * size)
            self._found[place] += counts.reshape(size, size)

    def stored(self, objects: Objects) -> dict[str, str]:
        """The counts as an artifact of their port, if there are any: [label][prediction] for each comparison."""
        found: list[Json] = []
        for pair, counts, fits in zip(self._pairs, self._found, self._fits, strict=True):
            names = self._schemas[pair.column].class_names or map(str, range(self._size(pair)))
            table = {"label": pair.column, "classes": list(names), "counts": counts.tolist()}
            if fits and counts.any() and all({"of": each["of"], **table} != each for each in found):
                found.append({"of": pair.path, **table})
        return {PORT: objects.put_json(found)} if found else {}
