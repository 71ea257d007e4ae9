"""Run the `dot` program."""

from __future__ import annotations

import shutil

from etude.compiler.draw.dot import picture_to_dot
from etude.compiler.draw.picture import Picture

PNG_DPI = 160


class DotMissingError(Exception):
    """The `dot` program of Graphviz is not installed, and `format` needs it."""

    def __init__(self, format: str) -> None:
        super().__init__(
            f"a {format} needs the program `dot` of Graphviz, which is not installed\n"
            "hint: install graphviz (apt install graphviz, brew install graphviz), "
            "or write .svg, .html, .mmd or .json, which need nothing"
        )
        self.format = format


def has_dot() -> bool:
    return shutil.which("dot") is not None


def picture_to_image(picture: Picture, format: str) -> bytes:
    """Draw as "svg", "png" or "pdf". Raises DotMissingError."""
    if not has_dot():
        raise DotMissingError(format)
    import graphviz

    source = picture_to_dot(picture)
    if format == "png":
        source = source.replace("graph [", f'graph [dpi="{PNG_DPI}", ', 1).replace(
            'bgcolor="transparent"', 'bgcolor="white"', 1
        )
    return bytes(graphviz.pipe("dot", format, source.encode()))
