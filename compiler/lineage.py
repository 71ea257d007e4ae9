"""Which rows a dataset of the graph can hold, and what is known of two datasets having rows in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from msgspec import Struct

from etude.compiler.workflow import Ref, Stage

# Options of sources that say what the columns are, and not which rows there are.
DECLARED = ("label", "target", "types", "classes", "columns", "length", "size", "fit", "channels", "masks", "delimiter")


class Part(Struct, frozen=True):
    """Rows that lie in each of the datasets `within` and in none of `outside`."""

    within: frozenset[Ref] = frozenset()
    outside: frozenset[Ref] = frozenset()


Lineage = frozenset[Part]
"""A dataset's rows come from these parts; none for generated rows, which are nobody else's."""


def lineage_of(stage: Stage, port: str, known: Mapping[Ref, Lineage]) -> Lineage:
    """The lineage of one output of a stage whose inputs' lineages are known."""
    own = Ref(stage.id, port)
    if stage.kind in ("generate", "rows"):
        return frozenset()
    if stage.kind in ("load", "external"):
        return frozenset([Part(frozenset([own]))])
    sources = [ref for ref in stage.inputs if ref in known]
    if stage.kind == "subtract":
        kept, removed = sources
        return frozenset(Part(part.within | {own}, part.outside | {removed}) for part in known[kept])
    # rows of a dataset that others are mapped, filtered or sampled from; a union or a choice has those of all
    taken = sources if stage.kind in ("union", "mix", "select") else sources[:1]
    return frozenset(Part(part.within | {own}, part.outside) for ref in taken for part in known[ref])


def are_disjoint(left: Lineage, right: Lineage, splits: Iterable[str], assumed: Iterable[tuple[Ref, Ref]]) -> bool:
    """Whether two datasets provably share no row. `splits` are stages whose outputs are disjoint."""
    cut, pairs = frozenset(splits), tuple(assumed)
    return all(_parts_differ(a, b, cut, pairs) for a in left for b in right)


def share_a_root(left: Lineage, right: Lineage, roots: Set[Ref]) -> bool:
    """Whether some rows of both come from the same loaded data."""
    return any(a.within & b.within & roots for a in left for b in right)


def are_of_one_source(left: Lineage, right: Lineage, sources: Mapping[Ref, str], cut: Iterable[str]) -> bool:
    """Whether one source was loaded twice, and one of the two datasets may still have any of its rows."""
    stages = frozenset(cut)

    def origins(lineage: Lineage) -> set[tuple[str, bool]]:
        return {
            (sources[ref], any(each.stage in stages for each in part.within))
            for part in lineage
            for ref in part.within & sources.keys()
        }

    return any(a == b and not (c and d) for a, c in origins(left) for b, d in origins(right))


def source_of(stage: Stage, port: str) -> str:
    """Equal for what was loaded from one place, whatever its columns were declared to be."""
    options = stage.spec["options"]
    ignored = {"role"} if stage.spec["uri"].startswith("synthetic:") else {"role", *DECLARED}
    rows = sorted((name, str(value)) for name, value in options.items() if name not in ignored)
    return str((stage.spec["uri"], port, rows))


def _parts_differ(a: Part, b: Part, splits: frozenset[str], assumed: tuple[tuple[Ref, Ref], ...]) -> bool:
    if a.outside & b.within or b.outside & a.within:
        return True
    ports = {ref.stage: ref.port for ref in a.within if ref.stage in splits}
    if any(ports.get(ref.stage, ref.port) != ref.port for ref in b.within):
        return True
    return any((x in a.within and y in b.within) or (y in a.within and x in b.within) for x, y in assumed)
