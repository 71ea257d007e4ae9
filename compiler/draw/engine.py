"""Run the `dot` program."""

from __future__ import annotations

import re
import shutil
from subprocess import SubprocessError

from etude.compiler.draw.dot import picture_to_dot
from etude.compiler.draw.picture import Picture

PNG_DPI = 160
PLAINLY = "or write .svg, .html, .mmd or .json, which need nothing"


class DotError(Exception):
    """There is no drawing by the `dot` program of Graphviz."""


class DotMissingError(DotError):
    """`dot` is not installed, and `format` needs it."""

    def __init__(self, format: str) -> None:
        super().__init__(
            f"a {format} needs the program `dot` of Graphviz, which is not installed\n"
            f"hint: install graphviz (apt install graphviz, brew install graphviz), {PLAINLY}"
        )
        self.format = format


class DotFailedError(DotError):
    """`dot` is installed but gave no drawing; `words` is what it said."""

    def __init__(self, format: str, words: str) -> None:
        super().__init__(
            f"the program `dot` of Graphviz could not draw a {format}: {words}\n"
            f"hint: `dot -V` tells whether it works at all; install graphviz again, {PLAINLY}"
        )
        self.format, self.words = format, words


def picture_to_image(picture: Picture, format: str, *, legend: bool = True) -> bytes:
    """Draw as "svg", "png" or "pdf", with what its colours mean below it. Raises DotError."""
    if shutil.which("dot") is None:
        raise DotMissingError(format)
    import graphviz

    source = picture_to_dot(picture, legend=legend)
    if format == "png":
        source = source.replace("graph [", f'graph [dpi="{PNG_DPI}", ', 1).replace(
            'bgcolor="transparent"', 'bgcolor="white"', 1
        )
    try:
        drawn = bytes(graphviz.pipe("dot", format, source.encode(), quiet=True))
    except (SubprocessError, graphviz.ExecutableNotFound, OSError) as error:
        raise DotFailedError(format, _words(error)) from error
    if not drawn:
        raise DotFailedError(format, "it wrote nothing")
    return drawn


def picture_to_inline_svg(picture: Picture, *, legend: bool = False) -> str:
    """Draw as one `svg` element without a head or comments. Raises DotError."""
    text = picture_to_image(picture, "svg", legend=legend).decode(errors="replace")
    if "<svg" not in text:
        raise DotFailedError("svg", "what it wrote is no drawing")
    return re.sub(r"<!--.*?-->\n?", "", text[text.index("<svg") :], flags=re.DOTALL)


def _words(error: Exception) -> str:
    """The first line of what a failed program said, or how it ended."""
    said = getattr(error, "stderr", None) or b""
    lines = (said.decode(errors="replace") if isinstance(said, bytes) else str(said)).strip().splitlines()
    return lines[0] if lines else str(error).splitlines()[0]
