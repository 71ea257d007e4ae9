"""Make classes that differ in numbers only one class: the numbers become parameters of its constructor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etude.backends.emission.naming import MODULE_ATTRIBUTES, Scope, variables

# A whole number that stands by itself in source text; neither part of a name nor of a float.
NUMBER = re.compile(r"(?<![\w.])(?<!\de[-+])\d+(?![\w.])")
CALL = re.compile(r"\b([A-Z]\w*)\(([^()]*)\)")
SETTING = re.compile(r"(\w+)=(\d+)(?![\w.])")
ATTRIBUTE = re.compile(r"self\.(\w+) =|register_buffer\(\"(\w+)\"")
VECTOR = re.compile(r"empty\(\d+[),]|zeros\(\(\d+,\)")
HOLE = "#"


@dataclass(eq=False)
class ClassText:
    """A class before it is written: `kind` is the name of the model, `setup` and `constructor` are statements."""

    name: str
    kind: str
    signatures: list[str]
    parameters: list[str]
    setup: list[str]
    constructor: list[str]
    methods: dict[str, list[str]]


@dataclass(eq=False)
class _Group:
    """Classes that become one, which is called as the first of them; `more` has further arguments for each."""

    members: list[ClassText]
    more: list[tuple[int, ...]] = field(default_factory=list)
    merged: ClassText | None = None


class Merger:
    """Groups classes by their text without numbers; classes that others mention come before them."""

    def __init__(self, classes: Sequence[ClassText]) -> None:
        self.groups: list[_Group] = []
        self.places: dict[str, tuple[_Group, int]] = {}
        for each in classes:
            group = next((group for group in self.groups if self._fits(group, each)), None)
            if group is None:
                group = _Group([])
                self.groups.append(group)
            self.places[each.name] = group, len(group.members)
            group.members.append(each)

    def has(self, name: str, method: str) -> bool:
        """Whether what the class of this name becomes has a method."""
        group, _ = self.places[name]
        return any(method in member.methods for member in group.members)

    def left(self, name: str) -> ClassText | None:
        """What the class of this name becomes; nothing if it becomes one that stands earlier."""
        group, place = self.places[name]
        return self.resolved(group) if place == 0 else None

    def calls(self, text: str) -> str:
        """A text in which constructors of merged classes are called by their names and with all their arguments."""
        return CALL.sub(self._call, text)

    def _call(self, match: re.Match[str]) -> str:
        if match[1] not in self.places:
            return match[0]
        group, place = self.places[match[1]]
        name = self.resolved(group).name
        given = [*([match[2]] if match[2] else []), *map(str, group.more[place])]
        return f"{name}({', '.join(given)})"

    def _fits(self, group: _Group, each: ClassText) -> bool:
        first = group.members[0]
        if (first.kind, first.parameters) != (each.kind, each.parameters):
            return False
        known = [method for member in group.members for method in member.methods.items()]
        return self._shape(first.constructor) == self._shape(each.constructor) and all(
            self._shape(lines) == self._shape(each.methods[name]) for name, lines in known if name in each.methods
        )

    def _shape(self, lines: Sequence[str]) -> list[str]:
        """Lines without numbers, in which classes of one group have one name."""
        return [CALL.sub(self._anonymous, NUMBER.sub(HOLE, line)) for line in lines]

    def _anonymous(self, match: re.Match[str]) -> str:
        group = self.places.get(match[1])
        return match[0] if group is None else f"{group[0].members[0].name}({match[2]})"

    def resolved(self, group: _Group) -> ClassText:
        """The class that a group becomes."""
        if group.merged is None:
            group.merged = self._merged(group)
        return group.merged

    def _merged(self, group: _Group) -> ClassText:
        members = group.members
        first = members[0]
        built = [[self.calls(line) for line in member.constructor] for member in members]
        names = list(dict.fromkeys(name for member in members for name in member.methods))
        texts = {name: [member.methods.get(name) for member in members] for name in names}
        columns = _Columns(members, {each.merged.name: each.merged.parameters for each in self.groups if each.merged})
        constructor = columns.filled(list(built), prefix="")
        methods = {name: columns.filled(found, prefix="self.") for name, found in texts.items()}
        group.more = list(zip(*columns.values.values(), strict=True)) or [()] * len(members)
        return ClassText(
            name=first.name,
            kind=first.kind,
            signatures=list(dict.fromkeys(text for member in members for text in member.signatures)),
            parameters=[*first.parameters, *columns.values],
            setup=[*first.setup, *(f"self.{name} = {name}" for name in columns.values if name in columns.kept)],
            constructor=constructor,
            methods=methods,
        )


class _Columns:
    """The numbers in which the members of a group differ: parameters by name, with their values in all members."""

    def __init__(self, members: Sequence[ClassText], parameters: Mapping[str, Sequence[str]]) -> None:
        self.members, self.parameters = members, parameters
        self.values: dict[str, tuple[int, ...]] = {}
        self.kept: set[str] = set()
        self.scope: Scope = variables(_taken(members))
        self.settings = _settings(members)

    def filled(self, texts: Sequence[list[str] | None], prefix: str) -> list[str]:
        """One text for all members, in which differing numbers are parameters; None is a member without it."""
        given = [place for place, text in enumerate(texts) if text is not None]
        lines = []
        for each in zip(*(text for text in texts if text is not None), strict=True):
            numbers = [[int(number) for number in NUMBER.findall(line)] for line in each]
            wishes = [self._wish(each[0], match.start()) for match in NUMBER.finditer(each[0])]
            columns = [dict(zip(given, column, strict=True)) for column in zip(*numbers, strict=True)]
            found = [self._number(column, wish, prefix) for column, wish in zip(columns, wishes, strict=True)]
            lines.append(_replaced(each[0], found))
        return lines

    def _number(self, column: Mapping[int, int], wish: str, prefix: str) -> str:
        if len(set(column.values())) == 1:
            return str(next(iter(column.values())))
        settings = [name for name, values in self.settings.items() if _agree(values, column)]
        known = [name for name, values in self.values.items() if _agree(values, column)]
        if wish in known:
            name = wish
        elif known and wish not in settings:
            name = known[0]
        else:
            name = self.scope.fresh(wish if wish in settings or not settings else settings[0])
            self.values[name] = tuple(column.get(place, 0) for place in range(len(self.members)))
        if prefix:
            self.kept.add(name)
        return f"{prefix}{name}"

    def _wish(self, line: str, at: int) -> str:
        """What to call the number at a place: as the parameter that it is for, or as what it does."""
        for call in CALL.finditer(line):
            if call.start(2) <= at < call.end(2):
                name = (
                    self.parameters[call[1]][line.count(",", call.start(2), at)] if call[1] in self.parameters else ""
                )
                return {"inputs": "dim", "": "size"}.get(name, name.rstrip("_0123456789"))
        if "range(" in line:
            return "depth"
        return "dim" if VECTOR.search(line) else "size"


def _agree(values: Sequence[int], column: Mapping[int, int]) -> bool:
    return all(values[place] == number for place, number in column.items())


def _replaced(line: str, numbers: Sequence[str]) -> str:
    found = iter(numbers)
    return NUMBER.sub(lambda _: next(found), line)


def _taken(members: Sequence[ClassText]) -> set[str]:
    """The names of attributes, methods and parameters."""
    lines = [line for member in members for line in member.constructor]
    attributes = {name for line in lines for pair in ATTRIBUTE.findall(line) for name in pair}
    methods = {name for member in members for name in member.methods}
    return {*MODULE_ATTRIBUTES, *attributes, *methods, *members[0].parameters}


def _settings(members: Sequence[ClassText]) -> dict[str, tuple[int, ...]]:
    """The settings of models that are numbers, with their values in all members."""
    heads = [member.signatures[0].partition("):")[0] for member in members]
    found: list[dict[str, str]] = [dict(SETTING.findall(head)) for head in heads]
    common = [name for name in found[0] if all(name in each for each in found)]
    return {name: tuple(int(each[name]) for each in found) for name in common}
