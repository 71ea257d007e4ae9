"""Pictures as Mermaid flowcharts, which code hosts and notebooks draw by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from etude.compiler.draw import palette
from etude.compiler.draw.picture import Arrow, Box, Picture
from etude.compiler.draw.wrapping import wrap

WIDTH = 34


def picture_to_mermaid(picture: Picture) -> str:
    """A `flowchart`, with classes for the kinds."""
    return "\n".join([f"flowchart {'LR' if picture.is_wide else 'TB'}", *(f"  {x}" for x in _lines(picture)), ""])


def _lines(picture: Picture) -> Iterator[str]:
    ids = {box.id: f"n{i}" for i, box in enumerate(picture.boxes)}
    numbers = {frame.path: f"g{i}" for i, frame in enumerate(picture.frames)}
    yield from _inside(picture, (), ids, numbers)
    yield from (_arrow(arrow, ids) for arrow in picture.arrows)
    kinds: dict[str, list[str]] = {}
    for box in picture.boxes:
        kinds.setdefault(box.state if box.state in palette.TONES else box.kind, []).append(ids[box.id])
    for kind, members in kinds.items():
        tone = palette.tone(kind)
        yield f"classDef {_word(kind)} fill:{tone.fill},stroke:{tone.line},color:{palette.INK}"
        yield f"class {','.join(members)} {_word(kind)}"
    for number in numbers.values():
        yield f"style {number} fill:{palette.FRAME_FILL},stroke:{palette.FRAME_LINE},color:{palette.SOFT_INK}"
    for box in picture.boxes:
        if box.state in palette.STATE_INK:
            yield f"style {ids[box.id]} stroke:{palette.STATE_INK[box.state]},stroke-width:2px"


def _inside(
    picture: Picture, path: tuple[str, ...], ids: dict[str, str], numbers: dict[tuple[str, ...], str]
) -> Iterator[str]:
    yield from (f"{ids[box.id]}{_shape(box)}" for box in picture.members(path))
    for frame in picture.children(path):
        title = " ".join(part for part in (frame.title, frame.badge) if part)
        yield f'subgraph {numbers[frame.path]}["{_text(title)}"]'
        yield from (f"  {line}" for line in _inside(picture, frame.path, ids, numbers))
        yield "end"


def _shape(box: Box) -> str:
    title = "<br/>".join(map(_text, wrap(" ".join(p for p in (box.title, box.badge) if p), WIDTH)))
    notes = [box.note, box.state if box.state in palette.STATE_INK else ""]
    small = "".join(f"<br/><small>{_text(line)}</small>" for note in notes for line in wrap(note, WIDTH))
    open_, close = ("{{", "}}") if box.kind == "claim" else ("(", ")")
    return f'{open_}"{title}{small}"{close}'


def _arrow(arrow: Arrow, ids: dict[str, str]) -> str:
    line = "-.->" if arrow.is_feedback or arrow.is_condition else "==>" if arrow.count > 1 else "-->"
    caption = f'|"{_text(arrow.caption)}"|' if arrow.caption else ""
    return f"{ids[arrow.source]} {line}{caption} {ids[arrow.target]}"


def _text(text: str) -> str:
    """Text inside quotes; Mermaid knows entities by number."""
    for char in '&"<>`#':
        text = text.replace(char, {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "#": "#"}[char])
    return text


def _word(kind: str) -> str:
    return "kind_" + "".join(char if char.isalnum() else "_" for char in kind)
