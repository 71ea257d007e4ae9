"""Pictures side by side as one PNG, their pixels enlarged without smoothing."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from etude.runtime.arrays import Array

Pixels = NDArray[np.uint8]
SIDE, GAP, LARGEST = 64, 4, 12  # pixels of the longer side at least, between pictures; the largest enlargement
CHANNELS = (1, 3, 4)


def grid_png(pictures: Array) -> bytes:
    """A grid of pictures [n, height, width] or [n, height, width, channels], row by row, on nothing.

    Numbers from 0 to 1 (or bytes) are brightnesses; others are cut off, and what is no number is black.
    """
    tiles = enlarged(coloured(pictures))
    count, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        grid[top : top + height, left : left + width] = tile
    return png(grid)


def coloured(pictures: Array) -> Pixels:
    """Pictures of one channel, or of three or four, as red, green, blue and opacity, [n, height, width, 4]."""
    pixels = pictures if pictures.ndim == 4 else pictures[..., np.newaxis]
    if pixels.dtype != np.uint8:
        numbers = np.nan_to_num(pixels.astype(np.float32), nan=0.0)
        pixels = np.round(np.clip(numbers, 0, 1) * 255).astype(np.uint8)
    channels = pixels.shape[-1]
    assert channels in CHANNELS, f"a picture of {channels} channels"
    if channels == 4:
        return pixels
    solid = np.full((*pixels.shape[:-1], 1), 255, np.uint8)
    return np.concatenate([np.broadcast_to(pixels, (*pixels.shape[:-1], 3)), solid], axis=-1)


def enlarged(pixels: Pixels) -> Pixels:
    """Every pixel as a square of pixels, so that small pictures can be seen."""
    scale = min(LARGEST, math.ceil(SIDE / max(pixels.shape[1:3])))
    return pixels.repeat(scale, axis=1).repeat(scale, axis=2)


def png(pixels: Pixels) -> bytes:
    """A picture [height, width, 4] in the format of the W3C recommendation of 2003: 8 bits, no filter."""
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(width, height, lines.tobytes()))


def _chunks(width: int, height: int, lines: bytes) -> Iterator[bytes]:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")):
        yield struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
