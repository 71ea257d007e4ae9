"""What can be wrong with a store."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """The store cannot be read or written."""

    def __init__(self, message: str, *, path: Path, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.path, self.hint = message, path, hint

    def __str__(self) -> str:
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{self.path}: {self.message}{hint}"


class LostObject(StoreError):
    """An object that a record names cannot be used: what made it has to run again. `state` says what is wrong."""

    state = "lost"

    def __init__(self, hash: str, path: Path) -> None:
        super().__init__(f"object {hash[:12]} is {self.state}", path=path, hint="run again: it is made anew")
        self.hash = hash


class DamagedObject(LostObject):
    """An object does not hold what its name says; it has been moved out of the way."""

    state = "damaged"


class MissingObject(LostObject):
    """An object is not there."""

    state = "missing"
