"""Which frames are worth drawing, and what stands above them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from etude.compiler.draw.picture import Box, Frame, Picture
from etude.compiler.draw.repeats import stem, sweep_text
from etude.compiler.workflow import Stage

FEWEST = 2  # a frame around fewer boxes says nothing


def framed(picture: Picture, members: Mapping[str, Sequence[Stage]], naming: Callable[[str], str]) -> Picture:
    """Give the picture its frames: those with at least two boxes that no other frame has exactly.

    A frame all of whose boxes stand for the same number of stages carries the badge itself.
    """
    inside: dict[tuple[str, ...], list[Box]] = {}
    for box in picture.boxes:
        for depth in range(1, len(box.frame) + 1):
            inside.setdefault(box.frame[:depth], []).append(box)
    kept = {path: 0 for path, boxes in inside.items() if len(boxes) >= FEWEST and not _is_repeated(path, inside)}
    shown = {path: tuple(p[-1] for p in _prefixes(path) if p in kept) for path in inside}
    badges = {path: _common_badge(inside[path]) for path in kept}
    frames = [
        Frame(
            path=shown[path],
            title=_title(path, kept, [stage for box in inside[path] for stage in members.get(box.id, ())]),
            badge=badges[path] if not any(badges.get(p) for p in _prefixes(path)[:-1]) else "",
        )
        for path in kept
    ]
    boxes = [
        replace(
            box,
            frame=shown.get(box.frame, ()),
            badge="" if any(badges.get(p) == box.badge for p in _prefixes(box.frame)) else box.badge,
        )
        for box in picture.boxes
    ]
    return replace(picture, boxes=tuple(boxes), frames=tuple(frames))


def _prefixes(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [path[:depth] for depth in range(1, len(path) + 1)]


def _is_repeated(path: tuple[str, ...], inside: Mapping[tuple[str, ...], list[Box]]) -> bool:
    """Whether the frame directly around has the same boxes."""
    return len(path) > 1 and len(inside[path]) == len(inside[path[:-1]])


def _common_badge(boxes: Sequence[Box]) -> str:
    badges = {box.badge for box in boxes}
    return badges.pop() if len(badges) == 1 else ""


def _title(path: tuple[str, ...], kept: Container[tuple[str, ...]], stages: Sequence[Stage]) -> str:
    """The name of a frame without that of the drawn one around it, and what varies over its members."""
    name = path[-1]
    for outer in reversed(_prefixes(path)[:-1]):
        if outer in kept and name.startswith(outer[-1]):
            name = name[len(outer[-1]) :].lstrip(".")
            break
    varies = _varies(stages, len(path))
    said = varies if varies != _varies(stages, len(path) - 1) else ""
    return " · ".join(part for part in (name, said) if part) or stem(path[-1])


def _varies(stages: Sequence[Stage], depth: int) -> str:
    """What distinguishes the repetitions of the frame at `depth`; "" above all frames."""
    return sweep_text([stage.group[depth - 1] for stage in stages if len(stage.group) >= depth > 0])
