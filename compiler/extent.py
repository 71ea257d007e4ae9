"""How far an expansion has come, and what it would come to: a recipe of a billion stages is refused at a few thousand.

Every comprehension, loop, list, record, call and body that is being evaluated is a level: so many of its elements are
done. Two things are told from that, and each only where it is beyond doubt, as elements need not be alike.

- If all elements of all levels were alike, the share of the whole that is done would follow, and so would the whole. An
  expansion is refused where this is more than a thousand times the limit; lists, records, calls and bodies, whose
  elements mostly differ, have a factor of ten for nothing. A sweep within the limit would be refused only if its first
  elements had a thousand times as many stages as the others.
- One in 250 elements of a comprehension or loop is done, at least four, and the last three made equally many stages.
  An expansion is refused where the others would make more than five times the limit.
"""

from __future__ import annotations

from msgspec import Struct, field

FIRST = 2_000
"""Stages before anything is estimated."""
FAR, FAR_BY_LIKES = 1_000, 5
"""How many times the limit an estimate has to be."""
DIFFERENT = 10
"""The factor that levels whose elements differ have for nothing."""
DONE = 250
"""The share of a level that has to be done before its rest is told from it."""
LIKES = 4
"""The counts of stages that are kept of a level: three elements stand between them."""


class Level(Struct):
    """Things that are evaluated one after the other; `are_alike` if by the same expression. `counts` are the stages of
    the whole expansion after each of the last elements."""

    total: int
    are_alike: bool
    done: int = 0
    counts: list[int] = field(default_factory=list)

    def rest(self) -> int:
        """The stages that its other elements would make, if the last were equal; 0 where that cannot be told."""
        if len(self.counts) < LIKES or self.done * DONE < self.total:
            return 0
        costs = {after - before for before, after in zip(self.counts, self.counts[1:], strict=False)}
        return (self.total - self.done) * costs.pop() if len(costs) == 1 else 0


class Extent(Struct):
    """The levels around what is being evaluated, outermost first, and how many stages stood before the outermost.

    Those that bindings at the top level made in between count as having stood before.
    """

    levels: list[Level] = field(default_factory=list)
    before: int = 0
    next: int = FIRST

    def enter(self, total: int, stages: int, *, are_alike: bool = False) -> Level:
        """A level of `total` things is begun, when there are so many stages; `leave` ends it."""
        if not self.levels:
            self.before, self.next = stages, stages + FIRST
        level = Level(total, are_alike)
        self.levels.append(level)
        return level

    def done(self, level: Level, stages: int) -> None:
        """One more element of a level is there."""
        level.done += 1
        if level.are_alike:
            level.counts.append(stages - self.before)
            del level.counts[:-LIKES]

    def leave(self) -> None:
        self.levels.pop()

    def too_many(self, stages: int, limit: int) -> int | None:
        """About how many stages there would be, where that is far beyond the limit."""
        if stages < self.next:
            return None
        self.next = stages + FIRST // 2
        share, different = 1.0, 1
        for level in reversed(self.levels):
            share = (level.done + share) / max(level.total, level.done + 1)
            different *= 1 if level.are_alike else max(level.total, 1)
        made = stages - self.before
        if made / share / min(different, DIFFERENT) > FAR * limit:
            return int(made / share)
        rest = max((level.rest() for level in self.levels), default=0)
        return made + rest if rest > FAR_BY_LIKES * limit else None
