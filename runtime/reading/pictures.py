"""Pictures: how large they are, and their pixels as float32 `[height, width, channels]` in 0..1."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from etude.runtime.sources import SourceError, nearest

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

PICTURE_OPTIONS: Mapping[str, str] = {
    "size": "[height, width] that every picture gets; needed where they differ",
    "fit": '"resize" (stretch to the size) or "crop" (scale until the size is covered, keep the middle)',
    "channels": "1 for grey, 3 for red, green and blue, 4 with transparency; of the first picture when left out",
}
EXTENSIONS = frozenset({"png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm"})
FITS = ("resize", "crop")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 4}
PILLOW_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "F": 1, "LA": 1, "RGBA": 4, "PA": 4}
ORIENTATION, SIDEWAYS = 0x0112, {5, 6, 7, 8}  # the tag of EXIF, and its values for pictures that lie on a side
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
EXIF_SEGMENT = 0xE1
STANDALONE = {0x01, *range(0xD0, 0xDA)}


@dataclass(frozen=True, slots=True)
class Form:
    """What every picture of a column becomes; without `fit` only pictures of this very size are let in."""

    height: int
    width: int
    channels: int
    fit: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, self.channels)


@dataclass(frozen=True, slots=True)
class Head:
    """The size of a picture when it is held upright, as its EXIF data says."""

    height: int
    width: int
    channels: int


def declared_form(uri: str, options: Mapping[str, Any]) -> tuple[tuple[int, int] | None, str | None, int | None]:
    """Size, fit and channels as a recipe declares them. Raises `SourceError`."""
    size, fit, channels = options.get("size"), options.get("fit"), options.get("channels")
    is_size = isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)
    if size is not None and not is_size:
        raise SourceError("size", uri=uri, expected="[height, width] in pixels", got=str(size), option="size")
    if fit is not None and fit not in FITS:
        hint = nearest(str(fit), FITS) or f"ways: {', '.join(FITS)}"
        raise SourceError(f'no way to fit pictures is called "{fit}"', uri=uri, hint=hint, option="fit")
    if fit is not None and size is None:
        raise SourceError("fit without a size", uri=uri, hint='size = [32, 32], fit = "resize"')
    if channels is not None and channels not in MODES:
        raise SourceError("channels", uri=uri, expected="1, 3 or 4", got=str(channels), option="channels")
    return (None if size is None else (size[0], size[1])), fit, channels


def read_head(source: Path | bytes) -> Head:
    """The size of a picture from the first bytes of its file: PNG and JPEG here, all others with Pillow.

    Raises OSError for what is no picture, as Pillow does.
    """
    head = _read_head(source)
    if not head.height or not head.width:
        raise OSError("a picture without a pixel")
    return head


def _read_head(source: Path | bytes) -> Head:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        start = stream.read(26)
        if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 26 and not _has_chunk(stream, b"eXIf"):
            width, height, _, color = struct.unpack(">IIBB", start[16:26])
            return Head(height, width, PNG_CHANNELS.get(color, 3))
        if start[:2] == b"\xff\xd8":
            stream.seek(2)
            head = _jpeg_head(stream)
            if head is not None:
                return head
    with opened(source) as picture:
        height, width = picture.height, picture.width
        # Pillow turns TIFF by itself
        if picture.format != "TIFF" and picture.getexif().get(ORIENTATION) in SIDEWAYS:
            height, width = width, height
        return Head(height, width, PILLOW_CHANNELS.get(picture.mode, 3))


def _has_chunk(stream: IO[bytes], wanted: bytes) -> bool:
    """Whether a PNG has a chunk of this kind."""
    stream.seek(8)
    while len(start := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", start)
        if kind == wanted:
            return True
        stream.seek(size + 4, io.SEEK_CUR)
    return False


def _jpeg_head(stream: IO[bytes]) -> Head | None:
    """Walk over the segments to the one that starts the frame; None for a file with EXIF data."""
    while len(marker := stream.read(2)) == 2 and marker[0] == 0xFF:
        if marker[1] == 0xFF:
            stream.seek(-1, io.SEEK_CUR)
            continue
        if marker[1] in STANDALONE:
            continue
        segment = stream.read(2)
        if marker[1] in JPEG_FRAMES and len(frame := stream.read(6)) == 6:
            _, height, width, components = struct.unpack(">BHHB", frame)
            return Head(height, width, 1 if components == 1 else 3)
        size = struct.unpack(">H", segment)[0] - 2 if len(segment) == 2 else 0
        if marker[1] == EXIF_SEGMENT and size >= 6:
            if stream.read(6) == b"Exif\0\0":
                return None
            size -= 6
        stream.seek(size, io.SEEK_CUR)
    raise OSError("the file ends before the picture")


@contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
    """A picture that is decoded when its pixels are asked for. Raises OSError where it is none, or broken."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            yield picture
    except UnidentifiedImageError as error:
        raise OSError("something else: it begins as no kind of picture does") from error
    except (SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


def decode(source: Path | bytes, form: Form) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The pixels of a picture, float32 `[height, width, channels]` in 0..1. Raises OSError where it is broken."""
    import numpy as np
    from PIL import Image

    with opened(source) as picture:
        made = fitted(_eight_bits(upright(picture)).convert(MODES[form.channels]), form, Image.Resampling.BILINEAR)
        pixels = np.asarray(made, dtype=np.float32) / np.float32(255)
    return pixels.reshape(form.shape)


def decode_classes(source: Path | bytes, form: Form) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The class of each pixel, int32 `[height, width]`: the grey value or place in the palette. Raises OSError."""
    import numpy as np
    from PIL import Image

    with opened(source) as picture:
        turned = upright(picture)
        plain = turned if turned.mode in {"L", "P", "I", "I;16", "1"} else turned.convert("L")
        return np.asarray(fitted(plain, form, Image.Resampling.NEAREST)).astype(np.int32)


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned and mirrored as its EXIF data says."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def fitted(picture: Image.Image, form: Form, resampling: Any) -> Image.Image:
    """The picture in the form's size."""
    size = (form.width, form.height)
    if picture.size == size:
        return picture
    if form.fit == "resize":
        return picture.resize(size, resampling)
    if form.fit is None:
        raise OSError(f"it is {picture.height} x {picture.width}")
    scale = max(form.width / picture.width, form.height / picture.height)
    width, height = form.width / scale, form.height / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    return picture.resize(size, resampling, box=(left, top, left + width, top + height))


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Sixteen bits of grey as eight: Pillow's own conversion cuts them off."""
    from PIL import Image

    if picture.mode not in {"I", "I;16"}:
        return picture
    import numpy as np

    return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
