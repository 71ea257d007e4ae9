"""Arrays of numpy as they lie in an archive: their heads without numpy, their rows a few at a time."""

from __future__ import annotations

import ast
import math
import operator
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from etude.runtime.sources import DataFile

if TYPE_CHECKING:
    import numpy as np

SIZES = {*(("f", size) for size in (2, 4, 8, 16)), *((kind, size) for kind in "iu" for size in (1, 2, 4, 8)), ("b", 1)}
WRITE_AGAIN = "was it cut off while copying? write it again with numpy.savez"
MAGIC = b"\x93NUMPY"
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """The head of one array: byte order, kind letter and item size of numpy's type string, and the shape.

    Where `columns_first` holds, the rows of the array do not lie one after the other.
    """

    order: str
    kind: str
    size: int
    shape: tuple[int, ...]
    columns_first: bool = False

    @property
    def item_bytes(self) -> int:
        """The bytes of a number, or of a text: a character has four."""
        return 4 * self.size if self.kind == "U" else self.size

    @property
    def row_bytes(self) -> int:
        return self.item_bytes * math.prod(self.shape[1:])


def read_header(file: DataFile, name: str, stream: IO[bytes]) -> Header:
    """Parse the head of an array, as numpy's format description has it; leaves the stream at the data."""
    start = stream.read(8)
    if len(start) < 8 or start[:6] != MAGIC:
        raise file.error(f'"{name}" is not a numpy array')
    try:
        length = struct.unpack("<H", stream.read(2))[0] if start[6] == 1 else struct.unpack("<I", stream.read(4))[0]
        head = ast.literal_eval(stream.read(length).decode("utf-8"))
        descr, shape, is_turned = head["descr"], tuple(map(operator.index, head["shape"])), bool(head["fortran_order"])
        is_plain = isinstance(descr, str) and descr[1] in "fiubU"
        size = int(descr[2:]) if is_plain else 0
    except (ValueError, SyntaxError, LookupError, TypeError, struct.error, RecursionError, MemoryError) as error:
        raise file.error(f'the head of array "{name}" is damaged', column=name, hint=WRITE_AGAIN) from error
    if not is_plain:
        raise file.error(f'array "{name}"', column=name, expected="numbers, truth values or text", got=str(descr))
    is_known = descr[0] in "<>|=" and (descr[1] == "U" or (descr[1], size) in SIZES)
    if not is_known or min(shape, default=0) < 0:
        raise file.error(f'the head of array "{name}" is damaged', column=name, hint=WRITE_AGAIN)
    return Header(descr[0], descr[1], size, shape, is_turned and len(shape) > 1)


def blocks(stream: IO[bytes], header: Header) -> Iterator[bytes]:
    """The bytes of an array behind its head, whole items at a time."""
    size = max(1, BLOCK_BYTES // max(1, header.item_bytes)) * header.item_bytes
    while block := stream.read(size):
        yield block


class Rows:
    """The rows of one array, one after the other. Raises EOFError where the file ends before them."""

    def __init__(self, stream: IO[bytes], header: Header) -> None:
        import numpy as np

        self._stream, self._header = stream, header
        self._dtype = np.dtype(f"{header.order}{header.kind}{header.size}")
        self._whole = self._read(header.shape[0]) if header.columns_first else None
        self._row = 0

    def take(self, rows: int) -> np.ndarray[Any, Any]:
        """The next rows, [rows, ...]."""
        self._row += rows
        return self._read(rows) if self._whole is None else self._whole[self._row - rows : self._row]

    def _read(self, rows: int) -> np.ndarray[Any, Any]:
        import numpy as np

        shape = (rows, *self._header.shape[1:])
        data = self._stream.read(rows * self._header.row_bytes)
        if len(data) < rows * self._header.row_bytes:
            raise EOFError("the file ends before the array")
        return np.frombuffer(data, self._dtype).reshape(shape, order="F" if self._header.columns_first else "C")
