"""What the slow copies of a `train` hold, also those that no loss calls: averages of weights that are only a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etude.backends.program.ir import Child, Sub
from etude.compiler import weight_faults
from etude.compiler.calls import CallSite
from etude.compiler.instances import model_name
from etude.compiler.lambdas import TracedFunction
from etude.compiler.models import model_origins
from etude.compiler.origins import mapped, slow_origin
from etude.compiler.tracing import Origins
from etude.compiler.values import AnyOrigin, Slow

Live = frozenset[AnyOrigin]
Part = tuple[Child, Origins]


def held_copies(
    site: CallSite,
    losses: Sequence[TracedFunction],
    slow: Mapping[str, tuple[Slow, float]],
    live: Live,
    origins: dict[str, list[AnyOrigin]],
) -> tuple[Sub, tuple[Origins, ...]] | None:
    """A program that has the slow copies which no loss calls, and does nothing; None where all are called.

    `origins` gets the weights of each copy.
    """
    reached = {origin for traced in losses for tree in traced.origins for origin in tree.flat}
    parts: list[Part] = []
    for name, (copy, _) in slow.items():
        own, held = model_origins(site.session, copy), reached
        if reached.isdisjoint(own):
            followed = live.intersection(model_origins(site.session, copy.base))
            unread = _unread(losses, name, followed)
            parts += unread
            held = {origin for _, tree in unread for origin in tree.flat}
        origins[name] = [origin for origin in own if origin in held]
        if not origins[name]:
            raise weight_faults.follows_nothing(name, model_name(copy.base), site.at("ema"))
    if not parts:
        return None
    return Sub("copies", (), (), tuple(child for child, _ in parts), (), ()), tuple(tree for _, tree in parts)


def _unread(losses: Sequence[TracedFunction], name: str, followed: Live) -> list[Part]:
    """The parts of the losses that have weights which a copy follows, each with those of the copy."""
    found: list[Part] = []
    for traced in losses:
        for child, tree in zip(traced.sub.children, traced.origins, strict=True):
            if not followed.isdisjoint(tree.flat):
                slow = mapped(tree, lambda origin: slow_origin(name, origin) if origin in followed else origin)
                number = f"_{len(found) + 1}" if found else ""
                found.append((Child(f"{name}{number}", child.sub), slow))
    return found
