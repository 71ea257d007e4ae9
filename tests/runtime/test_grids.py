"""Pictures side by side."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from etude.runtime.grids import GAP, grid_png


def read(png: bytes) -> np.ndarray:
    """The pixels, [height, width, 4], as another program reads them."""
    picture = Image.open(io.BytesIO(png))
    assert picture.mode == "RGBA"
    return np.asarray(picture)


def test_pixels_are_enlarged_to_squares_without_smoothing() -> None:
    pixels = read(grid_png(np.float32([[[0, 1], [0.5, 0.25]]])))
    side = pixels.shape[0] // 2
    assert pixels.shape == (24, 24, 4)
    assert [pixels[y * side :, x * side :][:side, :side, 0].ravel().tolist() for y, x in np.ndindex(2, 2)] == [
        [value] * side**2 for value in (0, 255, 128, 64)
    ]
    assert (pixels[..., 3] == 255).all()


def test_pictures_stand_row_by_row_with_nothing_between_them() -> None:
    pictures = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None, None] * np.ones((1, 64, 64, 1), np.float32)
    pixels = read(grid_png(pictures))
    assert pixels.shape == (2 * 64 + GAP, 3 * 64 + 2 * GAP, 4)
    step = 64 + GAP
    assert [int(pixels[y * step, x * step, 0]) for y, x in np.ndindex(2, 3)][:5] == [0, 64, 128, 191, 255]
    assert not pixels[:, 64:step].any()
    assert not pixels[step:, 2 * step :].any(), "there is no sixth picture"


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_stay_colours(channels: int) -> None:
    picture = np.zeros((1, 4, 4, channels), np.float32)
    picture[..., 1] = 1
    assert read(grid_png(picture))[0, 0].tolist() == [0, 255, 0, 255 if channels == 3 else 0]


def test_what_is_out_of_range_is_cut_off_and_bytes_and_truth_values_are_taken_as_they_are() -> None:
    wild = np.float32([[[-1, 2], [np.nan, np.inf]]])
    assert np.unique(read(grid_png(wild))[..., 0]).tolist() == [0, 255]
    assert read(grid_png(np.full((1, 64, 64), 77, np.uint8)))[0, 0].tolist() == [77, 77, 77, 255]
    assert read(grid_png(np.ones((1, 64, 64), bool)))[0, 0].tolist() == [255] * 4


def test_the_same_pictures_are_the_same_bytes() -> None:
    pictures = np.random.default_rng(0).random((7, 8, 8, 1), np.float32)
    assert grid_png(pictures) == grid_png(pictures.copy())
