"""The library's modules: found definitions are those of the parser, names clash nowhere, what is unused is not read."""

from __future__ import annotations

import pytest

from etude.compiler import definitions
from etude.compiler.builtins import library_names
from etude.compiler.modules import ALWAYS_OPEN, FOLDER, known_modules
from etude.compiler.pipeline import Compilation, compile_recipe
from etude.compiler.schema import SourceSchema
from etude.grammar import nodes
from etude.grammar.parser import parse

FILES = sorted(FOLDER.glob("*.etude"))
REPLACED = {"hvp"}  # what has a name of its own in a module though it is a builtin, too


def compiled(text: str, **files: str) -> Compilation:
    def no_source(uri: str, options: object) -> SourceSchema:
        raise LookupError(uri)

    return compile_recipe(text, describe_source=no_source, read_module=files.__getitem__)


def codes(text: str) -> list[str]:
    return [diagnostic.code for diagnostic in compiled(text).diagnostics]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_found_without_parsing_is_what_the_parser_finds(file: object) -> None:
    text = file.read_text()  # type: ignore[attr-defined]
    whole = parse(text).statements
    found = [(d.kind, d.name) for d in definitions.definitions(text)]
    kinds = {nodes.Fn: "fn", nodes.ModelDef: "model"}
    assert found == [(kinds.get(type(s), ""), getattr(s, "name", "use")) for s in whole]


def test_no_name_of_the_library_is_defined_twice() -> None:
    seen: dict[str, str] = {}
    clashes = []
    for module in known_modules():
        for definition in definitions.definitions((FOLDER / f"{module.removeprefix('std.')}.etude").read_text()):
            if definition.name in seen:
                clashes.append(f"{definition.name}: {seen[definition.name]} and {module}")
            seen[definition.name] = module
    clashes += [f"{name}: {seen[name]} and the language" for name in seen if name in library_names()]
    assert [clash for clash in clashes if clash.split(":")[0] not in REPLACED] == []


def test_all_modules_can_be_open_at_once() -> None:
    assert codes("\n".join(f"use {module}" for module in known_modules())) == []


def test_a_name_that_two_opened_files_give_is_ambiguous_where_it_is_used() -> None:
    text = 'use "a.etude"\nuse "b.etude"\nx = both()\ny = one()'
    found = compiled(text, **{"a.etude": "fn both() = 1", "b.etude": "fn both() = 2\nfn one() = 3"}).diagnostics
    assert [(d.code, d.location.span.start) for d in found] == [("E210", text.index("both()"))]


def test_only_what_is_used_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def parsed(definition: definitions.Definition, source: object) -> nodes.Program:
        read.append(definition.name)
        return original(definition, source)  # type: ignore[arg-type]

    original = definitions._parsed
    monkeypatch.setattr(definitions, "_parsed", parsed)
    assert codes("net = mlp([4])") == []
    assert read == ["mlp", "linear"]  # a network is built from what is inside it


def test_what_is_read_late_knows_its_place_in_the_file() -> None:
    text = "use std.ssl as ssl\nx = ssl.simclr"
    compilation = compiled(text)
    assert compilation.recipe is not None
    assert compilation.recipe.values["x"].name == "simclr"
    statement = compilation.recipe.values["x"].node
    source = compilation.recipe.values["x"].scope.source
    assert source.text[statement.span.start : statement.span.end].startswith("fn simclr(")


def test_the_modules_that_are_always_open_exist() -> None:
    assert set(ALWAYS_OPEN) <= set(known_modules())


FILES_OF_A_USER = {
    "lib/one.etude": 'use "inner/two.etude" as two\nk = 3\nfn f(x) = two.f(x) + k',
    "lib/inner/two.etude": "use std.ssl as ssl\nk = 10\nfn f(x) = k * x\nmethod = ssl.simclr",
    "both.etude": 'use "lib/one.etude"\nparam width: int = 8 in 1..9\nfn g(x) = f(x) + width',
}


def test_modules_use_modules_from_their_own_folders_and_names_of_one_hide_none_of_another() -> None:
    text = (
        'use "lib/one.etude" as one\nuse "both.etude" as both\nk = 1\nx = one.f(2) + k\ny = both.g(2)\nz = both.width'
    )
    compilation = compiled(text, **FILES_OF_A_USER)
    assert compilation.diagnostics == [] and compilation.recipe is not None
    assert compilation.recipe.values == {"k": 1, "x": 24, "y": 31, "z": 8}


def test_what_a_module_opens_it_does_not_hand_on() -> None:
    found = compiled('use "both.etude"\nx = f(2)', **FILES_OF_A_USER).diagnostics
    assert [d.message for d in found] == ["unknown name 'f'"]


def test_a_file_that_was_not_opened_leaves_no_second_fault_where_its_name_is_used() -> None:
    found = compiled('use "bad.etude" as bad\nx = bad.f(2)', **{"bad.etude": "fn f(x) ="}).diagnostics
    assert [d.code for d in found] == ["E101"]


def test_files_that_use_each_other_are_refused_with_the_way() -> None:
    files = {"a.etude": 'use "b.etude"\nfn f() = 1', "b.etude": 'use "a.etude"\nfn g() = 1'}
    found = compiled('use "a.etude"', **files).diagnostics
    assert [d.code for d in found] == ["E208"]
    assert found[0].help is not None and "a.etude -> b.etude -> a.etude" in found[0].help


def test_what_nobody_calls_in_a_used_file_is_checked_too() -> None:
    files = {"a.etude": "k = 1\nfn used(x) = x + k\nfn unused(x: intt) = missing + x"}
    found = compiled('use "a.etude" as a\ny = a.used(1)', **files).diagnostics
    assert [d.message for d in found] == ["unknown name 'intt'", "unknown name 'missing'"]
