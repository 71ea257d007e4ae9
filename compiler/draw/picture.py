"""What a drawing holds, whatever it is written as: boxes, arrows between them, frames around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

TIMES = "\u00d7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A node. `kind` decides the colour, `note` stands small below the title, `badge` beside it ("x5").

    `frame` is the path of the frames that it stands in. `state` is one of "", "cached", "partly cached", "failed",
    "holds", "fails", "cannot tell", "learns", "frozen". `tip` is shown on hover, where the format can. `names` are
    what the box stands for: one stage, or all those that were merged into it. `ports` are the outputs that arrows
    leave by, when there is more than one.
    """

    id: str
    title: str
    kind: str
    note: str = ""
    badge: str = ""
    frame: tuple[str, ...] = ()
    state: str = ""
    tip: str = ""
    names: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """What flows from one box to another. `type` is the short text of its type, `label` the port.

    A feedback arrow goes from one round of a loop to the next, a condition arrow from the value that decides whether
    the target is run. `full_type` is the whole text of the type.
    """

    source: str
    target: str
    type: str = ""
    label: str = ""
    full_type: str = ""
    count: int = 1
    is_feedback: bool = False
    is_condition: bool = False

    @property
    def caption(self) -> str:
        return " ".join(part for part in (self.label, self.type) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A rectangle around the boxes whose `frame` starts with `path`."""

    path: tuple[str, ...]
    title: str
    kind: str = "group"
    badge: str = ""
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawing. Boxes stand in topological order, feedback arrows aside."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)

    def children(self, path: tuple[str, ...]) -> Iterator[Frame]:
        """The frames directly inside the frame at `path`."""
        return (frame for frame in self.frames if frame.path[:-1] == path)

    def members(self, path: tuple[str, ...]) -> Iterator[Box]:
        """The boxes directly inside the frame at `path`."""
        return (box for box in self.boxes if box.frame == path)

    def layers(self) -> dict[str, int]:
        """The length of the longest path, in arrows, that ends at each box; feedback aside."""
        incoming: dict[str, list[str]] = {box.id: [] for box in self.boxes}
        for arrow in self.arrows:
            if not arrow.is_feedback:
                incoming[arrow.target].append(arrow.source)
        layers: dict[str, int] = {}
        for box in self.boxes:
            layers[box.id] = max((layers[source] + 1 for source in incoming[box.id]), default=0)
        return layers

    @property
    def is_wide(self) -> bool:
        """Whether it reads better from left to right: picks the shape nearer to a page (3:2)."""
        if not self.boxes:
            return True
        layers = self.layers()
        depth = max(layers.values()) + 1
        breadth = max(list(layers.values()).count(i) for i in range(depth))
        left_to_right = (depth * 190) / (breadth * 62)
        top_down = (breadth * 165) / (depth * 88)
        return _distance(left_to_right) <= _distance(top_down)


def _distance(aspect: float, page: float = 1.5) -> float:
    return max(aspect / page, page / aspect)
