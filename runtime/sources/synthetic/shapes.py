"""Pictures of coloured shapes, with a box, a class and pixels for each: to classify, to detect, to segment.

On a background of one random colour lie `least` to `most` shapes, later ones over earlier ones: discs, squares,
crosses or triangles, of random size, place and colour. `boxes` holds [top, left, bottom, right] of each shape as
shares of the height and width, before others covered it, `kinds` its class, `boxes_mask` which of the places are
used. `segments` is the class of what each pixel shows, 0 for the background, else 1 + the kind. `label` is the kind
of the first shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler.schema import ColumnSchema
from etude.runtime.sources import Chunk
from etude.runtime.sources.synthetic import Option

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
KINDS = ("disc", "square", "cross", "triangle")
OPTIONS: Mapping[str, Option] = {
    "size": Option(16, "height and width in pixels", low=8, high=1024),
    "channels": Option(1, "1 for grey, 3 for colours", low=1, high=3),
    "least": Option(1, "the least number of shapes", low=1, high=64),
    "most": Option(1, "the largest number of shapes", low=1, high=64),
    "noise": Option(0.05, "the standard deviation of normal noise on the pixels"),
}


def columns(options: Mapping[str, Any]) -> tuple[ColumnSchema, ...]:
    """`image`, `boxes` [most, 4], `boxes_mask`, `kinds` [most], `segments` [size, size] and `label`."""
    size, most = options["size"], options["most"]
    return (
        ColumnSchema("image", "tensor", "float32", (size, size, options["channels"])),
        ColumnSchema("boxes", "tensor", "float32", (most, 4), is_target=True),
        ColumnSchema("boxes_mask", "tensor", "bool", (most,)),
        ColumnSchema("kinds", "tensor", "int32", (most,), is_target=True),
        ColumnSchema("segments", "tensor", "int32", (size, size), is_target=True),
        ColumnSchema("label", "label", "int32", (), len(KINDS), KINDS),
    )


def rows(options: Mapping[str, Any], key: int, numbers: np.ndarray[Any, np.dtype[np.uint32]]) -> Chunk:
    import numpy as np

    from etude.backends.numpy.random import fold, normal, randint, uniform

    size, most, depth = options["size"], options["most"], options["channels"]
    keys = [fold(fold(key, site), numbers) for site in range(6)]
    count = randint(keys[0], min(options["least"], most), most, ())
    mask = np.arange(most) < count[:, np.newaxis]
    kinds = np.where(mask, randint(keys[1], 0, len(KINDS) - 1, (most,)), 0).astype(np.int32)
    colours = uniform(keys[2], (most + 1, depth))
    # Each shape differs from the background by at least 0.4 in every channel, modulo 1.
    colours[:, 1:] = (colours[:, :1] + np.float32(0.4) + np.float32(0.2) * colours[:, 1:]) % 1
    radius = np.float32(0.12) + np.float32(0.16) * uniform(keys[3], (most,))
    centre = radius[..., np.newaxis] + (1 - 2 * radius[..., np.newaxis]) * uniform(keys[4], (most, 2))
    image = np.broadcast_to(colours[:, :1, np.newaxis], (len(numbers), size, size, depth)).copy()
    segments = np.zeros((len(numbers), size, size), np.int32)
    for shape in range(most):
        inside = _inside(kinds[:, shape], centre[:, shape], radius[:, shape], size) & mask[:, shape, None, None]
        image = np.where(inside[..., np.newaxis], colours[:, shape + 1, None, None], image)
        segments = np.where(inside, kinds[:, shape, None, None] + 1, segments)
    image = np.clip(image + np.float32(options["noise"]) * normal(keys[5], (size, size, depth)), 0, 1)
    edges = np.concatenate([centre - radius[..., np.newaxis], centre + radius[..., np.newaxis]], axis=-1)
    boxes = np.where(mask[..., np.newaxis], edges, np.float32(0))
    return {
        "image": image.astype(np.float32), "boxes": boxes.astype(np.float32), "boxes_mask": mask, "kinds": kinds,
        "segments": segments.astype(np.int32), "label": kinds[:, 0],
    }  # fmt: skip


def _inside(kind: Any, centre: Any, radius: Any, size: int) -> Any:
    """Which pixels a shape covers, [rows, size, size]; places are shares of the picture, at the middle of pixels."""
    import numpy as np

    middles = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    y = (middles - centre[:, :1])[:, :, np.newaxis] / radius[:, None, None]
    x = (middles - centre[:, 1:])[:, np.newaxis] / radius[:, None, None]
    square = np.maximum(np.abs(x), np.abs(y)) <= 1
    disc = x * x + y * y <= 1
    cross = square & (np.minimum(np.abs(x), np.abs(y)) <= np.float32(0.35))
    triangle = square & (np.abs(x) <= (y + 1) / 2)
    return np.choose(kind[:, None, None], [disc, square, cross, triangle])
