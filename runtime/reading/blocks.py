"""Pictures in a terminal: two pixels to a character, in colour, or in five shades of grey without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etude.compiler.schema import ColumnSchema
from etude.runtime.arrays import Array

SHADES = " ░▒▓█"
MAX_WIDTH = 32
GAP = "  "


def is_picture(column: ColumnSchema) -> bool:
    """Whether a column can be shown: grey or coloured, and more than a few pixels."""
    return column.dtype == "float32" and len(column.shape) == 3 and column.shape[2] in {1, 3, 4} and column.shape[0] > 1


def picture_lines(pictures: Sequence[Array], is_coloured: bool) -> list[str]:
    """Pictures `[height, width, channels]` in 0..1 side by side, each at most 32 characters wide."""
    shown = [_blocks(_smaller(picture), is_coloured) for picture in pictures]
    return [GAP.join(line).rstrip() for line in zip(*shown, strict=True)]


def _smaller(picture: Array) -> Array:
    """The mean over squares of pixels, so that the picture fits; an even number of rows, three channels."""
    step = -(-picture.shape[1] // MAX_WIDTH)
    height, width = picture.shape[0] // step * step or picture.shape[0], picture.shape[1] // step * step
    tiles = picture[:height, :width].reshape(-1, step, width // step, step, picture.shape[2])
    made = np.clip(tiles.mean(axis=(1, 3)), 0, 1)[..., :3]
    made = np.repeat(made, 3, axis=2) if made.shape[2] == 1 else made
    return np.concatenate([made, np.zeros_like(made[:1])]) if len(made) % 2 else made


def _blocks(pixels: Array, is_coloured: bool) -> list[str]:
    pairs = zip(pixels[::2], pixels[1::2], strict=True)
    return ["".join(_block(*both, is_coloured) for both in zip(top, low, strict=True)) for top, low in pairs]


def _block(top: Any, low: Any, is_coloured: bool) -> str:
    if not is_coloured:
        return SHADES[round(float((top.mean() + low.mean()) / 2) * (len(SHADES) - 1))]
    ink, paper = (";".join(str(round(float(part) * 255)) for part in each) for each in (top, low))
    return f"\x1b[38;2;{ink};48;2;{paper}m▀\x1b[0m"
