"""What changed between two accounts of a stage, the first difference first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from etude.compiler.wording import value_text
from etude.runtime.accounts import Account

Json = Any
UNSAID = {"uri", "valid.score_names"}  # what is no part of a key
# Settings whose paths have names that a recipe chooses, and that are no part of a key.
NAMED = [
    re.compile(pattern)
    for pattern in (
        r"()((?!valid\.|watch\.)[^.]+)(\.(?:loss|update|every|optimizer)(?:\..+)?)",  # players
        r"(watch\.probes\.)([^.]+)()",
        r"(state\.given\.)([^.]+)()",
    )
]
What: TypeAlias = Literal["input", "program", "seed", "backend", "semantics"]
Outline: TypeAlias = Callable[[str], Sequence[str] | None]


@dataclass(frozen=True)
class Change:
    """One difference, as people read it. `path` says where: a setting, an input, an operation."""

    what: What
    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path} {self.before} -> {self.after}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def differences(before: Account, after: Account, outline: Outline) -> list[Change]:
    """Everything that makes the key of one account another than that of the other. `outline` knows programs by digest.

    Contents of inputs that are not known yet are not compared.
    """
    return [
        *_settings(before.settings, after.settings, outline),
        *_seeds(before.seeds, after.seeds),
        *_backend(before.backend, after.backend),
        *_semantics(before, after),
        *_inputs(before, after),
    ]


def _settings(before: Mapping[str, Json], after: Mapping[str, Json], outline: Outline) -> Iterator[Change]:
    before = _called_alike(before, after)
    for path in dict.fromkeys((*after, *before)):
        old: Json = before.get(path)
        new: Json = after.get(path)
        if path == "weights":
            yield from _weights(old or (), new or ())
        elif old != new and path not in UNSAID:
            if _is_program(old) and _is_program(new):
                yield _program(path, outline(old["program"]), outline(new["program"]))
            else:
                yield Change("program", path, _shown(path, old), _shown(path, new))


def _called_alike(before: Mapping[str, Json], after: Mapping[str, Json]) -> Mapping[str, Json]:
    """Settings under the names that players, probes and states have now: as many in one order are the same ones."""
    for pattern in NAMED:
        old, new = ([*dict.fromkeys(_names(pattern, settings))] for settings in (before, after))
        if old != new and len(old) == len(new):
            names = dict(zip(old, new, strict=True))
            before = {_with_name(pattern, path, names): value for path, value in before.items()}
    return before


def _names(pattern: re.Pattern[str], settings: Mapping[str, Json]) -> Iterator[str]:
    return (found[2] for path in settings if (found := pattern.fullmatch(path)))


def _with_name(pattern: re.Pattern[str], path: str, names: Mapping[str, str]) -> str:
    found = pattern.fullmatch(path)
    return f"{found[1]}{names[found[2]]}{found[3]}" if found else path


def _is_program(value: Json) -> bool:
    return isinstance(value, Mapping) and "program" in value


def _shown(path: str, value: Json) -> str:
    return "a function" if _is_program(value) else value_text(path, value)


def _program(path: str, before: Sequence[str] | None, after: Sequence[str] | None) -> Change:
    """The first lines of two programs that differ."""
    if before is None or after is None:
        return Change("program", path, "another function", "a function" if after is None else "; ".join(after[:3]))
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for tag, i, j, k, m in blocks:
        if tag != "equal":
            return Change(
                "program", path, "; ".join(before[i:j][:3]) or "nothing", "; ".join(after[k:m][:3]) or "nothing"
            )
    return Change("program", path, "other types or shapes", "; ".join(after[:1]))


def _weights(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> Iterator[Change]:
    """The first weight that is another; names are only for people and do not count."""
    for (_, old), (path, new) in zip(before, after, strict=False):
        if old != new:
            yield Change("program", f"weights.{path}", old, new)
            return
    if len(before) != len(after):
        yield Change("program", "weights", f"{len(before)} tensors", f"{len(after)} tensors")


def _seeds(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[Change]:
    """The seed of the stage; those of weights by position, and once where many go the same way."""
    told: set[tuple[Json, Json]] = set()
    for (_, old), (path, new) in zip(_ordered(before), _ordered(after), strict=False):
        if old != new and (old, new) not in told:
            told.add((old, new))
            yield Change("seed", path, str(old), str(new))


def _ordered(seeds: Mapping[str, Json]) -> list[tuple[str, Json]]:
    return [("seed", seeds.get("seed")), *((path, seed) for path, seed in seeds.items() if path != "seed")]


def _backend(before: Sequence[str] | None, after: Sequence[str] | None) -> Iterator[Change]:
    if before is None or after is None:
        if before != after:
            yield Change("backend", "backend", " ".join(before or ["none"]), " ".join(after or ["none"]))
        return
    for path, old, new in zip(("backend", "precision"), before, after, strict=False):
        if old != new:
            yield Change("backend", path, str(old), str(new))


def _semantics(before: Account, after: Account) -> Iterator[Change]:
    for name in before.semantics.keys() & after.semantics.keys():
        if before.semantics[name] != after.semantics[name]:
            path = after.kind if name == "stage" else name
            words = ["version" if isinstance(each.semantics[name], str) else "meaning" for each in (before, after)]
            found = [f"{word} {each.semantics[name]}" for word, each in zip(words, (before, after), strict=True)]
            yield Change("semantics", path, *found)


def _inputs(before: Account, after: Account) -> Iterator[Change]:
    for old, new in zip(before.inputs, after.inputs, strict=False):
        if new[3] is not None and old[3] != new[3]:
            yield Change("input", input_path(new), content_text(old[3]), content_text(new[3]))
    if len(before.inputs) != len(after.inputs):
        yield Change("input", "inputs", str(len(before.inputs)), str(len(after.inputs)))


def input_path(given: Sequence[str | None]) -> str:
    """What people call an input: what it is to the stage, and where it comes from."""
    role, name, port, _ = given
    return (
        str(name)
        if role == "content"
        else f"{role} ({name})"
        if port in ("", "data", "value")
        else f"{role} ({name}.{port})"
    )


def content_text(hash: str | None) -> str:
    """A content hash, short."""
    if hash is None:
        return "nothing"
    return f"content {hash[:12]}" if len(hash) == 64 else hash
