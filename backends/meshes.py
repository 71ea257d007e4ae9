"""How a stage is shared out over devices: the mesh that a target asks for, and which axis of a weight is cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class MeshShape:
    """So many devices along each axis: the rows of a batch are shared out along `data`, weights along `model`."""

    data: int = 1
    model: int = 1

    @property
    def size(self) -> int:
        """How many devices it takes."""
        return self.data * self.model

    def shares(self, rows: int) -> bool:
        """Whether every device along `data` gets an equal part of so many rows; otherwise each has all of them."""
        return rows % self.data == 0


AXES = tuple(field.name for field in fields(MeshShape))


def mesh_shape(given: Mapping[str, int] | None) -> MeshShape | None:
    """The mesh that a setting asks for; None for one of one device.

    >>> mesh_shape({"data": 2}), mesh_shape({"model": 1}), mesh_shape(None)
    (MeshShape(data=2, model=1), None, None)
    """
    shape = MeshShape(**(given or {}))
    return shape if shape.size > 1 else None


def mesh_text(given: Mapping[str, Any]) -> str:
    """A mesh as a file says it.

    >>> mesh_text({"data": 8, "model": 2})
    '{data = 8, model = 2}'
    """
    return f"{{{', '.join(f'{name} = {size}' for name, size in given.items())}}}"


def cut_axis(shape: Sequence[int], parts: int) -> int | None:
    """The axis along which a weight is cut into equal parts: the longest that can be, of equal ones the last.

    >>> cut_axis((8, 16), 2), cut_axis((16, 16), 2), cut_axis((6, 9), 3), cut_axis((3,), 2), cut_axis((8,), 1)
    (1, 1, 1, None, None)
    """
    fitting = [axis for axis, size in enumerate(shape) if parts > 1 and size and size % parts == 0]
    return max(fitting, key=lambda axis: (shape[axis], axis), default=None)


def share_of_weights(slots: Iterable[Mapping[str, Any]], parts: int) -> float:
    """The part of the weights in `slots` that one of so many devices holds.

    >>> share_of_weights([{"shape": [8, 16]}, {"shape": [3]}], 2)
    0.5114503816793893
    """
    shapes = [slot["shape"] for slot in slots]
    whole = sum(math.prod(shape) for shape in shapes)
    held = sum(math.prod(shape) / (1 if cut_axis(shape, parts) is None else parts) for shape in shapes)
    return held / whole if whole else 1.0
