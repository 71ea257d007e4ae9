"""Pictures as a tree of text: frames are branches, each box says where its inputs come from."""

from __future__ import annotations

from collections.abc import Iterator

from etude.compiler.draw.picture import Box, Frame, Picture
from etude.compiler.render.ansi import PLAIN, Paint
from etude.compiler.render.columns import text_width

STYLES = {"train": "yellow", "measure": "green", "claim": "magenta", "load": "blue", "learns": "yellow"}
NAME_WIDTH, NOTE_WIDTH = 40, 44
STATE_STYLES = {"failed": "red", "fails": "red", "cached": "green", "holds": "green"}


def picture_to_tree(picture: Picture, paint: Paint = PLAIN) -> str:
    """Lines of text, the title first."""
    rows = list(tree_rows(picture))
    name_width = min(max((text_width(lead + _name(item)) for lead, item in rows), default=0), NAME_WIDTH)
    note_width = min(max((text_width(item.note) for _, item in rows if isinstance(item, Box)), default=0), NOTE_WIDTH)
    lines = [paint(picture.title, "bold")] if picture.title else []
    sources = _sources(picture)
    lines += [_line(lead, item, name_width, note_width, sources, paint) for lead, item in rows]
    return "\n".join(lines) + "\n"


def tree_rows(picture: Picture, path: tuple[str, ...] = (), lead: str = "") -> Iterator[tuple[str, Box | Frame]]:
    """Boxes and frames in the order of their first box, each with the branches left of it."""
    order = {box.id: i for i, box in enumerate(picture.boxes)}
    items: list[tuple[int, Box | Frame]] = [(order[box.id], box) for box in picture.members(path)]
    for frame in picture.children(path):
        inside = [order[box.id] for box in picture.boxes if box.frame[: len(frame.path)] == frame.path]
        items.append((min(inside), frame))
    items.sort(key=lambda item: item[0])
    for position, (_, item) in enumerate(items):
        is_last = position == len(items) - 1
        yield lead + ("└─ " if is_last else "├─ "), item
        if isinstance(item, Frame):
            yield from tree_rows(picture, item.path, lead + ("   " if is_last else "│  "))


def _name(item: Box | Frame) -> str:
    return " ".join(part for part in (item.title, item.badge) if part)


def _sources(picture: Picture) -> dict[str, list[str]]:
    titles = {box.id: box.title for box in picture.boxes}
    sources: dict[str, list[str]] = {}
    for arrow in picture.arrows:
        text = titles[arrow.source] + (f".{arrow.label}" if arrow.label else "")
        known = sources.setdefault(arrow.target, [])
        text = f"{text} (earlier round)" if arrow.is_feedback else text
        if text not in known:
            known.append(text)
    return sources


def _line(
    lead: str, item: Box | Frame, name_width: int, note_width: int, sources: dict[str, list[str]], paint: Paint
) -> str:
    padding = " " * max(name_width - text_width(lead + _name(item)), 0)
    badge = " " + paint(item.badge, "cyan") if item.badge else ""
    if isinstance(item, Frame):
        return (paint(lead, "grey") + paint(item.title, "bold") + badge).rstrip()
    name = paint(lead, "grey") + paint(item.title, STYLES.get(item.kind, "")) + badge + padding
    note = paint(item.note, "grey") + " " * max(note_width - text_width(item.note), 0)
    came = ", ".join(sources.get(item.id, []))
    state = "  " + paint(item.state, STATE_STYLES.get(item.state, "yellow")) if item.state else ""
    return f"{name}  {note}  {paint('<- ' + came, 'grey') if came else ''}{state}".rstrip()
