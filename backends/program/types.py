"""Types of tensor values: a dtype and a shape."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from etude.backends.program.dims import Dim, product, substitute

DType = Literal["bool", "int32", "uint32", "float32"]
PROMOTION: tuple[DType, ...] = ("bool", "int32", "float32")
BYTES = {"bool": 1, "int32": 4, "uint32": 4, "float32": 4}


class TensorType(Struct, frozen=True, cache_hash=True):
    dtype: DType
    shape: tuple[Dim, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def with_shape(self, shape: tuple[Dim, ...]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def at_batch(self, batch: Dim) -> TensorType:
        """This type with `batch` in the place of `b`."""
        return TensorType(self.dtype, tuple(substitute(dim, batch) for dim in self.shape))

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def promote(dtypes: list[DType]) -> DType:
    """The common dtype of arithmetic: bool < int32 < float32."""
    return PROMOTION[max(map(PROMOTION.index, dtypes), default=0)]
