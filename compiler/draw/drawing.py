"""Write a picture in the format that a file name asks for."""

from __future__ import annotations

import json

from etude.compiler.draw.picture import Picture

FORMATS = ("svg", "png", "pdf", "dot", "mmd", "html", "json", "txt")


def draw(picture: Picture, format: str) -> bytes:
    """The bytes of a file. Without a working Graphviz "png" and "pdf" raise DotError, "svg" is drawn plainly."""
    if format in ("png", "pdf"):
        from etude.compiler.draw.engine import picture_to_image

        return picture_to_image(picture, format)
    return _text(picture, format).encode()


def _text(picture: Picture, format: str) -> str:
    match format:
        case "svg":
            from etude.compiler.draw.html import inline_svg

            return inline_svg(picture, legend=True)
        case "dot":
            from etude.compiler.draw.dot import picture_to_dot

            return picture_to_dot(picture, legend=True)
        case "mmd":
            from etude.compiler.draw.mermaid import picture_to_mermaid

            return picture_to_mermaid(picture)
        case "html":
            from etude.compiler.draw.html import picture_to_html

            return picture_to_html(picture)
        case "json":
            from etude.compiler.draw.json import picture_to_json

            return json.dumps(picture_to_json(picture), indent=1, ensure_ascii=False) + "\n"
        case "txt":
            from etude.compiler.draw.tree import picture_to_tree

            return picture_to_tree(picture)
    raise ValueError(f"no drawing is written as {format!r}; there are {', '.join(FORMATS)}")
