"""Pictures for programs, in the shape that the manual documents."""

from __future__ import annotations

from typing import Any

from etude.compiler.draw.picture import Picture

Json = Any


def picture_to_json(picture: Picture) -> Json:
    """The object of `etude graph -o out.json`; `count` is how many stages a node stands for."""
    return {
        "title": picture.title,
        "nodes": [
            {
                "id": box.id,
                "name": box.title if len(box.names) != 1 else box.names[0],
                "kind": box.kind,
                "label": box.note,
                "group": list(box.frame),
                "count": max(len(box.names), 1),
                "stages": list(box.names),
                "state": box.state,
            }
            for box in picture.boxes
        ],
        "edges": [
            {
                "from": arrow.source,
                "to": arrow.target,
                "type": arrow.full_type or arrow.type,
                "label": arrow.label,
                "count": arrow.count,
                "feedback": arrow.is_feedback,
                "condition": arrow.is_condition,
            }
            for arrow in picture.arrows
        ],
    }
