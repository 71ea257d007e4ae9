"""Where the arrays of a stage lie: on one device, or on those of a mesh, which then compute it together.

The program of a stage is that of one device: its meaning is that of the whole batch and of whole weights. XLA cuts it
along the arrays that it is given, and puts sums and exchanges in where values meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jax import Array as Tensor
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from etude.backends.base import Array, TooFewDevicesError
from etude.backends.jax.devices import resident_bytes
from etude.backends.meshes import AXES, MeshShape, cut_axis

Place: TypeAlias = "jax.Device | NamedSharding"
Tree = Any
T = TypeVar("T")


@dataclass(frozen=True)
class Places:
    """Where arrays lie: on `device`, or where there is a `mesh` on its devices, of which that is the first."""

    device: jax.Device
    mesh: Mesh | None = None

    @classmethod
    def of(cls, device: jax.Device, shape: MeshShape | None) -> Places:
        """The places on a mesh of devices such as this one. Raises TooFewDevicesError."""
        if shape is None:
            return cls(device)
        there = jax.local_devices(backend=device.platform)
        if len(there) < shape.size:
            raise TooFewDevicesError("jax", device.platform, shape.size, len(there))
        return cls(device, mesh_over(there[: shape.size], shape))

    @property
    def parts(self) -> int:
        """In how many parts rows are shared out."""
        return 1 if self.mesh is None else int(self.mesh.shape["data"])

    @property
    def whole(self) -> Place:
        """All of an array on every device."""
        return self._cut(0, None, "data")

    def rows(self, count: int, *, axis: int = 0) -> Place:
        """The place of `count` rows along an axis: shared out where each device gets as many, else on all of them."""
        return self._cut(axis + 1, axis if count % self.parts == 0 else None, "data")

    def weight(self, shape: tuple[int, ...]) -> Place:
        """The place of a weight, or of what an optimizer keeps of it."""
        parts = 1 if self.mesh is None else int(self.mesh.shape["model"])
        return self._cut(len(shape), cut_axis(shape, parts), "model")

    def _cut(self, rank: int, axis: int | None, name: str) -> Place:
        if self.mesh is None:
            return self.device
        names = () if axis is None else tuple(name if each == axis else None for each in range(rank))
        return NamedSharding(self.mesh, PartitionSpec(*names))

    def weights(self, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
        """Weights on their devices, which may be donated: none shares memory with the host's."""
        return {
            name: jax.device_put(array, self.weight(np.shape(array)), may_alias=False) for name, array in arrays.items()
        }

    def of_weights(self, tree: Tree) -> Tree:
        """The place of every leaf of a tree of weights, or of what an optimizer keeps."""
        return jax.tree.map(lambda leaf: self.weight(leaf.shape), tree)

    def resident_bytes(self) -> int:
        """Bytes of columns that a stage holds on each device; those of a processor share its memory."""
        copies = 1 if self.mesh is None or self.device.platform != "cpu" else self.mesh.size
        return resident_bytes(self.device) // copies

    def within(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function, which is traced where it can ask for the mesh."""
        if self.mesh is None:
            return function
        mesh = self.mesh.abstract_mesh

        def traced(*given: Any) -> T:
            with jax.sharding.use_abstract_mesh(mesh):
                return function(*given)

        return traced


def mesh_over(devices: list[jax.Device], shape: MeshShape) -> Mesh:
    """A mesh of these devices: neighbours stand along `model`, which exchanges more."""
    grid = np.array(devices).reshape(shape.data, shape.model)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))
