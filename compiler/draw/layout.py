"""Place boxes in layers without Graphviz: columns by longest path, frames as blocks that never overlap.

Every frame is laid out by itself; for the frame around it, it is one item over the columns that it spans. Items are
put at the height where their neighbours are, as far as those before them leave room. An arrow over several columns
gets a point in each column that it passes, which takes part like a thin box; arrows from one box share them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from etude.compiler.draw.picture import Arrow, Frame, Picture

GAP, FRAME_MARGIN, FRAME_TITLE, COLUMN_GAP, LANE = 20.0, 14.0, 20.0, 84.0, 4.0
SWEEPS = 8
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Size:
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass
class Layout:
    """Where everything stands; `bends` are the points of each arrow between its ends, feedback aside."""

    boxes: dict[str, Area] = field(default_factory=dict)
    frames: dict[Path, Area] = field(default_factory=dict)
    bends: dict[Arrow, list[Area]] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0


@dataclass
class _Item:
    """A box, a point of arrows, or a frame with all in it: what one level of the layout moves as a whole."""

    first: int
    last: int
    height: float
    boxes: dict[str, float]  # id to the distance of the box's top from the item's
    frames: dict[Path, tuple[float, float, int, int]]  # to top, height, first and last column
    y: float = 0.0


@dataclass
class _Graph:
    """Boxes and the points of long arrows, all called nodes: their columns, frames, sizes and neighbours."""

    picture: Picture
    columns: dict[str, int]
    sizes: dict[str, Size]
    members: dict[Path, list[str]] = field(default_factory=dict)
    neighbours: dict[str, list[str]] = field(default_factory=dict)
    bends: dict[Arrow, list[str]] = field(default_factory=dict)
    middles: dict[str, float] = field(default_factory=dict)  # as far as known; within the frame laid out last


def lay_out(picture: Picture, sizes: Mapping[str, Size]) -> Layout:
    """Give every box and frame its place, from left to right."""
    graph = _Graph(picture, picture.layers(), dict(sizes))
    frames = {box.id: box.frame for box in picture.boxes}
    for box in picture.boxes:
        graph.members.setdefault(box.frame, []).append(box.id)
    for arrow in picture.arrows:
        if not arrow.is_feedback:
            _add_arrow(graph, arrow, _common(frames[arrow.source], frames[arrow.target]))
    return _positions(graph, _level(graph, ()))


def _common(left: Path, right: Path) -> Path:
    depth = 0
    while depth < min(len(left), len(right)) and left[depth] == right[depth]:
        depth += 1
    return left[:depth]


def _add_arrow(graph: _Graph, arrow: Arrow, path: Path) -> None:
    """Connect the ends through a point in each column between them, at the frame around both."""
    bends = []
    for column in range(graph.columns[arrow.source] + 1, graph.columns[arrow.target]):
        name = f"{arrow.source} {arrow.label} {path} {column}"
        if name not in graph.columns:
            graph.columns[name], graph.sizes[name] = column, Size(0.0, LANE)
            graph.members.setdefault(path, []).append(name)
        bends.append(name)
    graph.bends[arrow] = bends
    stops = [arrow.source, *bends, arrow.target]
    for left, right in itertools.pairwise(stops):
        graph.neighbours.setdefault(left, []).append(right)
        graph.neighbours.setdefault(right, []).append(left)


def _level(graph: _Graph, path: Path) -> _Item:
    """Lay out what stands directly at `path`, and the frames there."""
    items = []
    for name in graph.members.get(path, []):
        column = graph.columns[name]
        items.append(_Item(column, column, graph.sizes[name].height, {name: 0.0}, {}))
    items += [_framed(_level(graph, frame.path), frame) for frame in graph.picture.children(path)]
    for _ in range(SWEEPS):
        _stack(items, graph)
    top = min((item.y for item in items), default=0.0)
    boxes = {id: item.y - top + y for item in items for id, y in item.boxes.items()}
    frames = {
        inner: (item.y - top + y, height, first, last)
        for item in items
        for inner, (y, height, first, last) in item.frames.items()
    }
    bottom = max((item.y + item.height for item in items), default=0.0)
    first = min((item.first for item in items), default=0)
    last = max((item.last for item in items), default=0)
    return _Item(first, last, bottom - top, boxes, frames)


def _framed(item: _Item, frame: Frame) -> _Item:
    """The item with room for the rectangle and its title around it."""
    down = FRAME_MARGIN + FRAME_TITLE
    boxes = {id: y + down for id, y in item.boxes.items()}
    frames = {path: (y + down, height, first, last) for path, (y, height, first, last) in item.frames.items()}
    height = item.height + down + FRAME_MARGIN
    frames[frame.path] = (0.0, height, item.first, item.last)
    return _Item(item.first, item.last, height, boxes, frames)


def _stack(items: list[_Item], graph: _Graph) -> None:
    """Move each item to where its neighbours are, or just below what is there already."""
    wanted = {id(item): _wish(item, graph) for item in items}
    free: dict[int, float] = {}
    for item in sorted(items, key=lambda item: wanted[id(item)]):
        columns = range(item.first, item.last + 1)
        lowest = max((free[c] for c in columns if c in free), default=None)
        wish = wanted[id(item)] - item.height / 2
        item.y = wish if lowest is None else max(wish, lowest)
        for column in columns:
            free[column] = item.y + item.height + GAP
        for name, y in item.boxes.items():
            graph.middles[name] = item.y + y + graph.sizes[name].height / 2


def _wish(item: _Item, graph: _Graph) -> float:
    """The middle that would make the arrows of the item level, on average."""
    wishes = [
        graph.middles[other] - (y + graph.sizes[name].height / 2) + item.height / 2
        for name, y in item.boxes.items()
        for other in graph.neighbours.get(name, [])
        if other not in item.boxes and other in graph.middles
    ]
    if wishes:
        return sum(wishes) / len(wishes)
    known = [graph.middles[name] for name in item.boxes if name in graph.middles]
    return sum(known) / len(known) if known else 0.0


def _positions(graph: _Graph, root: _Item) -> Layout:
    widths: dict[int, float] = {}
    for name, column in graph.columns.items():
        widths[column] = max(widths.get(column, 0.0), graph.sizes[name].width)
    starts: dict[int, float] = {}
    x = FRAME_MARGIN * 2
    for column in range(len(widths)):
        starts[column] = x
        x += widths[column] + COLUMN_GAP
    layout = Layout(width=x - COLUMN_GAP + FRAME_MARGIN * 2, height=root.height + 2 * FRAME_MARGIN)
    areas: dict[str, Area] = {}
    for name, column in graph.columns.items():
        size = graph.sizes[name]
        width = size.width or widths[column]  # the points of arrows run straight through their column
        left = starts[column] + (widths[column] - width) / 2
        areas[name] = Area(left, FRAME_MARGIN + root.boxes[name], width, size.height)
    layout.boxes = {box.id: areas[box.id] for box in graph.picture.boxes}
    layout.bends = {arrow: [areas[name] for name in names] for arrow, names in graph.bends.items()}
    for path, (y, height, first, last) in root.frames.items():
        inset = FRAME_MARGIN - 3 * (len(path) - 1)
        left, right = starts[first] - inset, starts[last] + widths[last] + inset
        layout.frames[path] = Area(left, FRAME_MARGIN + y, right - left, height)
    return layout
