"""Write many expressions that differ in one index as what they are: the elements of a list, or something of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etude.backends.emission.naming import singular

INDEX = re.compile(r"\[(\d+)\]")
# Lists from this length on are looked through for elements that are alike.
LONG = 8
MOST_TOGETHER = 24


@dataclass(frozen=True, slots=True)
class _Run:
    """`rounds` elements of `sequence` from `start` on, each with every one of `suffixes`."""

    sequence: str
    start: int
    rounds: int
    suffixes: tuple[str, ...]

    @property
    def length(self) -> int:
        return self.rounds * len(self.suffixes)

    def text(self, lengths: Mapping[str, int]) -> str:
        """The expression of all that it stands for, to be put into a list."""
        whole = (self.start, self.rounds) == (0, lengths.get(self.sequence))
        elements = self.sequence if whole else f"{self.sequence}[{self.start or ''}:{self.start + self.rounds}]"
        if self.suffixes == ("",):
            return f"*{elements}"
        name = singular(self.sequence.rpartition(".")[2])
        if len(self.suffixes) == 1:
            return f"*({name}{self.suffixes[0]} for {name} in {elements})"
        each = ", ".join(name + suffix for suffix in self.suffixes)
        return f"*(each for {name} in {elements} for each in ({each}))"


def list_text(texts: Sequence[str], lengths: Mapping[str, int]) -> str:
    """A list of expressions, the longest runs of like ones in one expression; `lengths` are those of known lists.

    >>> list_text([f"net[{i}].{name}" for i in range(4) for name in "wb"] + ["last"], {"net": 4})
    '[*(each for net_ in net for each in (net_.w, net_.b)), last]'
    >>> list_text([f"w[{i}]" for i in range(9)], {"w": 9}), list_text([f"-w[{i}]" for i in range(2)], {})
    ('w', '[-w[0], -w[1]]')
    """
    items: list[str] = []
    at = 0
    while at < len(texts):
        run = _longest_run(texts, at) if len(texts) >= LONG else None
        items.append(texts[at] if run is None else run.text(lengths))
        at += 1 if run is None else run.length
    if len(items) == 1 and items[0].startswith("*("):
        return f"[{items[0][2:-1]}]"
    return items[0][1:] if len(items) == 1 and items[0].startswith("*") else f"[{', '.join(items)}]"


def _longest_run(texts: Sequence[str], at: int) -> _Run | None:
    """The longest run that starts at a place, if any has three rounds; of several the one with the fewest suffixes."""
    found = [
        run
        for match in INDEX.finditer(texts[at])
        for together in range(1, min(MOST_TOGETHER, len(texts) - at) + 1)
        if (run := _run(texts, at, match, together)).rounds > 2
    ]
    return max(found, key=lambda run: (run.length, -len(run.suffixes)), default=None)


def _run(texts: Sequence[str], at: int, match: re.Match[str], together: int) -> _Run:
    """The run of elements of a list of which each has so many suffixes; it may be of no round."""
    sequence, start = texts[at][: match.start()], int(match[1])
    prefix = f"{sequence}[{start}]"
    block = texts[at : at + together]
    suffixes = tuple(text.removeprefix(prefix) for text in block)
    if not all(text.startswith(prefix) for text in block) or not re.fullmatch(r"[\w.]+", sequence):
        return _Run(sequence, start, 0, suffixes)
    rounds = 1
    while list(texts[at + rounds * together : at + (rounds + 1) * together]) == [
        f"{sequence}[{start + rounds}]{suffix}" for suffix in suffixes
    ]:
        rounds += 1
    return _Run(sequence, start, rounds, suffixes)
