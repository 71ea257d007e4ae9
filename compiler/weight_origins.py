"""Where the numbers of a weight come from, or of a tensor that a function holds: its identity, whatever its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from etude.compiler.workflow import Ref

Identity = tuple[Any, ...]


class Before(Struct, frozen=True, cache_hash=True):
    """The identity of what a model was made from, inside of its own. Its hash is computed once: of a long chain of
    trainings each has all before it inside."""

    identity: Identity


class Origin(Struct, frozen=True, cache_hash=True):
    """Where a weight's number comes from before any training: the constructor, its ordinal in it, and its seed.

    `is_chosen` says that the recipe asked for these random numbers (`reseed`), and does not wonder at them.
    """

    instance: Identity
    ordinal: int
    structure: str
    seed: int | None
    is_chosen: bool = False

    @property
    def fresh(self) -> Origin:
        return self


class TrainedOrigin(Struct, frozen=True, cache_hash=True):
    """A weight after a stage: the `index`-th of the weights file at `ref`."""

    ref: Ref
    index: int
    fresh: Origin


class SlowOrigin(Struct, frozen=True):
    """A weight of the slow copy `name` of a `train`: it starts as `of` and follows it."""

    name: str
    of: Origin | TrainedOrigin

    @property
    def fresh(self) -> Origin:
        return self.of.fresh


class StartOrigin(Struct, frozen=True):
    """A weight as it was when the stage that reads it began, whatever the stage does to it."""

    of: Origin | TrainedOrigin

    @property
    def fresh(self) -> Origin:
        return self.of.fresh


class FrozenOrigin(Struct, frozen=True):
    """A weight as it is at each moment of a stage, but through which nothing learns."""

    of: Origin | TrainedOrigin

    @property
    def fresh(self) -> Origin:
        return self.of.fresh


class KeptOrigin(Struct, frozen=True):
    """A weight of a model that `by` puts in the place of a part, while the rest is traced: it is what it is."""

    by: Identity
    of: Any

    @property
    def fresh(self) -> Origin:
        fresh: Origin = self.of.fresh
        return fresh


class StoredOrigin(Struct, frozen=True):
    """The `index`-th tensor of the file at `ref`: a part of a measured tree."""

    ref: Ref
    index: int

    @property
    def fresh(self) -> Origin:
        raise AssertionError("a measured tensor is no weight of a model")


class ValueOrigin(Struct, frozen=True, eq=False):
    """A value known after the run that a traced function holds. `made` gives the output of the stage that makes a
    file of it; `key` tells two values apart."""

    key: Any
    made: Callable[[], Ref]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueOrigin) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def fresh(self) -> Origin:
        raise AssertionError("a measured value is no weight of a model")


AnyOrigin = Origin | TrainedOrigin | SlowOrigin | StartOrigin | FrozenOrigin | KeptOrigin | StoredOrigin | ValueOrigin


def is_weight(origin: AnyOrigin) -> bool:
    """Whether an origin is that of a model's weight, and not of a tensor that its function holds."""
    return type(origin) is not StoredOrigin and type(origin) is not ValueOrigin
