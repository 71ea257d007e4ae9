"""What a `measure` makes of the values of its rows: means, by weight or by class, and metrics of the whole set."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from etude.backends.program.ir import Operand
from etude.compiler.builtins.measuring_sets import OF_ALL_PAIRS, SetMetric
from etude.compiler.lambdas import TracedFunction
from etude.compiler.values import (
    Deferred,
    DeferredList,
    Measured,
    Record,
    Row,
    Stored,
    StoredOrigin,
    Tensor,
    TextColumn,
    Tree,
)
from etude.compiler.workflow import Ref


class Gathered(Struct):
    """The outputs of a measured row function. `by` is the label column by which means are taken apart.

    Columns that are collected rather than averaged are called `#0`, `#1`, ... in the program.
    """

    by: str | None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    weighted: list[dict[str, str]] = field(default_factory=list)
    collected: list[tuple[str, Operand]] = field(default_factory=list)
    trees: dict[str, Tree | Tensor] = field(default_factory=dict)
    leaves: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def outputs(self, result: Any, row: Any) -> list[tuple[str, Any]] | None:
        """The outputs of the program for what the function returned: (name, tensor or number)."""
        outputs: list[tuple[str, Any]] = []
        for path, value in by_place(result).items():
            if isinstance(value, Tree):
                self.trees[path], self.leaves[path] = value, [self._collect(leaf) for leaf in value.leaves]
            elif isinstance(value, Tensor) and value.type.rank:
                self.trees[path], self.leaves[path] = value, [self._collect(value)]
            elif is_weighted(value) and value["value"].type.rank:
                self.trees[path], self.leaves[path] = value["value"], [self._collect(value["value"])]
                self.weights[path] = self._collect(value["weight"])
            elif isinstance(value, SetMetric):
                inputs = [self._input(tensor) for tensor in value.tensors]
                self.metrics.append(
                    {"path": path, "name": value.name, "inputs": inputs, "settings": dict(value.settings)}
                )
            elif is_weighted(value):
                pair = {"value": self._collect(value["value"]), "weight": self._collect(value["weight"])}
                self.weighted.append({"path": path, **pair})
            else:
                outputs.append((path, value))
        if self.by is not None and isinstance(row, Row):
            outputs.append(("#by", row[self.by]))
        return [*outputs, *self.collected]

    def _input(self, value: Tensor | TextColumn) -> str:
        """The name of what a metric takes: a value of the program, or a column of text as it is."""
        return f"#text.{value.name}" if isinstance(value, TextColumn) else self._collect(value)

    def _collect(self, value: Any) -> str:
        name = f"#{len(self.collected)}"
        self.collected.append((name, value))
        return name

    def averaged_only(self, traced: TracedFunction) -> TracedFunction:
        """The program with the outputs that must be one number."""
        kept = tuple((name, value) for name, value in traced.sub.outputs if not name.startswith("#"))
        return replace(traced, sub=replace(traced.sub, outputs=kept))

    def spec(self) -> dict[str, Any]:
        trees = [
            {
                "port": _port(path),
                "leaves": names,
                **({} if isinstance(self.trees[path], Tree) else {"tensor": True}),
                **({"weight": self.weights[path]} if path in self.weights else {}),
            }
            for path, names in self.leaves.items()
        ]
        parts = {"metrics": self.metrics, "weighted": self.weighted, "by": self.by, "trees": trees}
        return {name: part for name, part in parts.items() if part}

    def ports(self, returned: Any) -> dict[str, str]:
        """The outputs of the stage: one for all numbers, and a file for each tree."""
        has_numbers = any(path not in self.trees for path in by_place(returned))
        files = {_port(path): "Tree" if isinstance(tree, Tree) else "Tensor" for path, tree in self.trees.items()}
        return {**({"value": "Metric"} if has_numbers else {}), **files}

    def result(self, returned: Any, value: list[Any], classes: int | None) -> Any:
        """The measured values as the recipe sees them."""
        if not has_fields(returned):
            return self._deferred(returned, value, classes)
        fields = zip(returned.items(), by_place(returned), strict=True)
        return Record({name: self._deferred(of, ["field", value, place], classes) for (name, of), place in fields})

    def _deferred(self, returned: Any, expression: list[Any], classes: int | None) -> Any:
        returned = returned["value"] if is_weighted(returned) else returned
        path = next((path for path, tree in self.trees.items() if tree is returned), None)
        if path is not None:
            ref, count = Ref(_stage_of(expression), _port(path)), len(self.leaves[path])
            parts = [_file_part(returned, ref, index * count) for index in range(classes or 1)]
            return parts[0] if classes is None else parts
        if classes is None and isinstance(returned, SetMetric):
            classes = returned.classes
        if classes is None:
            return Deferred(expression)
        entries = [["at", expression, index] for index in range(classes)]
        if isinstance(returned, SetMetric) and returned.name in OF_ALL_PAIRS:
            return [DeferredList(entry, length=classes) for entry in entries]
        return [Deferred(entry) for entry in entries]


def has_fields(returned: Any) -> bool:
    """Whether a function returned several values by name."""
    return isinstance(returned, Record) and not is_weighted(returned)


def by_place(returned: Any) -> dict[str, Any]:
    """What a function returned as the store calls it: the fields of a record by their places, "" for a single value."""
    if not has_fields(returned):
        return {"": returned}
    return {str(number): value for number, value in enumerate(returned.values())}


def _file_part(returned: Tree | Tensor, ref: Ref, first: int) -> Tree | Measured:
    """A tree or a tensor that begins at a place of a file."""
    if isinstance(returned, Tensor):
        return Measured(returned.type.with_dtype("float32"), ref, first)
    leaves = (Stored(leaf.type, StoredOrigin(ref, first + i)) for i, leaf in enumerate(returned.leaves))
    return Tree(returned.paths, tuple(leaves))


def _port(path: str) -> str:
    return f"tree.{path}" if path else "tree"


def _stage_of(expression: list[Any]) -> str:
    """The stage that an expression of one of its outputs is about."""
    return str(expression[1] if expression[0] == "ref" else expression[1][1])


def is_weighted(value: Any) -> bool:
    """Whether a value is `{value, weight}`."""
    return isinstance(value, Record) and set(value) == {"value", "weight"} and isinstance(value["value"], Tensor)
