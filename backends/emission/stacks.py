"""Which weights of equal blocks are held as one array, where those blocks are computed by a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from etude.backends.emission.following import Following

if TYPE_CHECKING:
    from etude.backends.emission.stage import StageWriter

Row: TypeAlias = tuple[str, int, int, Sequence[str]]
"""A list of modules, its first block, the one behind the last, and the names of weights in a block."""

SCAN = "scan"
LEAST_BLOCKS = 6  # a scan of fewer is compiled no sooner
# What these do to a weight depends on all of its numbers, so that several in one array are not the same.
WHOLE = frozenset({"lamb", "lars", "adafactor"})


def parts_of(stacks: Sequence[Row]) -> Iterator[tuple[str, list[str]]]:
    """The name of each array, and the paths of its parts.

    >>> list(parts_of([("net.blocks", 0, 2, ("w",))]))
    [('net.blocks.0:2.w', ['net.blocks.0.w', 'net.blocks.1.w'])]
    """
    for place, start, stop, names in stacks:
        for name in names:
            yield f"{place}.{start}:{stop}.{name}", [f"{place}.{i}.{name}" for i in range(start, stop)]


def plan_stacks(writer: StageWriter, spec: Mapping[str, Any], follows: Sequence[Following]) -> list[Row]:
    """The stacks of a stage: weights of scanned blocks that are learned in one way, or not at all.

    Slow copies are stacked as what they follow is, or neither.
    """
    paths = dict(reversed(writer.models.slots))
    roles = {path: _role(spec, slot) for slot, path in paths.items()}
    stacks: list[Row] = []
    taken: set[str] = set()
    for place, start, stop in _runs(writer):
        first = f"{place}.{start}."
        names = []
        for name in [path.removeprefix(first) for path in reversed(roles) if path.startswith(first)]:
            parts = [f"{place}.{i}.{name}" for i in range(start, stop)]
            found = {roles.get(path) for path in parts}
            if len(found) == 1 and found != {None} and taken.isdisjoint(parts):
                names.append(name)
                taken.update(parts)
        stacks += [(place, start, stop, tuple(names))] if names else []
    return _without(stacks, _unmatched(stacks, paths, spec, follows))


def _runs(writer: StageWriter) -> list[tuple[str, int, int]]:
    """The lists of blocks that programs scan, with the first block and the one behind the last; longest first."""
    found = []
    for form, chains in writer.writer.scanned.items():
        places = [place for (plan, _), place in writer.models.places.items() if plan is writer.plans.get(form)]
        for chain in chains:
            name = chain.first.sequence.removeprefix("self.")
            found += [(f"{place.path}.{name}", chain.first.index, chain.stop) for place in places]
    return sorted(dict.fromkeys(found), key=lambda run: (run[0], run[1] - run[2]))


def _role(spec: Mapping[str, Any], slot: int) -> Any:
    """What becomes of a weight in a step; None for what has to stay an array of its own."""
    roles: list[Any] = [slot in {slow for slow, *_ in spec.get("ema") or ()}]
    for step in spec["steps"]:
        optimizer = step["optimizer"]
        if slot in step["update"] and optimizer["name"] in WHOLE:
            return None
        groups = [number for number, group in enumerate(optimizer.get("groups") or ()) if slot in group["slots"]]
        roles.append((slot in step["update"], tuple(groups)))
    return None if spec["slots"][slot].get("running") else tuple(roles)


def _unmatched(
    stacks: Sequence[Row], paths: Mapping[int, str], spec: Mapping[str, Any], follows: Sequence[Following]
) -> set[str]:
    """The names of stacks of slow copies, and of what they follow, of which the other is not stacked alike."""
    followed = {paths[slow]: paths[slot] for slow, slot, _ in spec.get("ema") or ()}
    arrays = dict(parts_of(stacks))
    wanted = {
        name: pair.followed.path + name.removeprefix(pair.slow.path)
        for pair in follows
        for name in arrays
        if name.startswith(f"{pair.slow.path}.")
    }
    left_out: set[str] = set()
    while True:
        held = {name: parts for name, parts in arrays.items() if name not in left_out}
        slow = {name: parts for name, parts in held.items() if parts[0] in followed}
        alone = {
            name for name, parts in slow.items() if held.get(wanted.get(name, "")) != [followed[path] for path in parts]
        }
        together = {path for name, parts in slow.items() if name not in alone for path in parts}
        single = {followed[path] for path in followed if path not in together}
        found = alone | {name for name, parts in held.items() if not single.isdisjoint(parts)}
        if not found:
            return left_out
        left_out |= found


def _without(stacks: Sequence[Row], left_out: set[str]) -> list[Row]:
    kept: list[Row] = []
    for place, start, stop, names in stacks:
        rest = tuple(name for name in names if f"{place}.{start}:{stop}.{name}" not in left_out)
        kept += [(place, start, stop, rest)] if rest else []
    return kept
