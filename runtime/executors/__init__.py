"""Where stages run. One module per way, found by its name, with `make(...) -> Executor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = Any


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker says about a task: while it runs `progress`, `warning`, and the step at which it has `continued` or
    up to which it is `kept`; then `done`, `failed` or `stopped`."""

    task: int
    kind: str
    data: Mapping[str, Json] = field(default_factory=dict)


class Executor(Protocol):
    """Runs tasks elsewhere, several at a time."""

    def has_room(self, devices: int = 1) -> bool:
        """Whether a task submitted now would start now, on so many devices that are its own if there are several."""
        ...

    def submit(self, task: int, request: Mapping[str, Json]) -> None:
        """Start a task."""
        ...

    def poll(self, seconds: float) -> list[Message]:
        """Wait for messages, at most so long."""
        ...

    def stop(self) -> None:
        """Ask all workers to end what they do at its next step; a training keeps its state."""
        ...

    def close(self) -> None:
        """End all workers; what they were doing is lost."""
        ...
