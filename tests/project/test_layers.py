"""Who may import whom. The layers are the architecture; see docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("grammar", "compiler", "runtime", "backends", "etude")
FRAMEWORKS = {"torch", "jax", "jaxlib", "flax", "optax", "orbax"}
HEAVY = {"numpy", "networkx", "pydantic", "rich", *FRAMEWORKS}  # what `etude check` must not wait for

MAY_IMPORT = {
    "grammar": ("etude.grammar",),
    "backends": ("etude.backends",),
    "compiler": (
        "etude.grammar",
        "etude.compiler",
        "etude.backends.program",
        "etude.backends.ops",
        "etude.backends.emission",
    ),
    "runtime": ("etude",),
    "etude": ("etude",),
}


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


def imports_of(file: Path) -> Iterator[Import]:
    """Yield every import of a file, in functions too; `from a import b` counts as `a.b`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(file, node)
            yield from (Import(file, node.lineno, f"{base}.{alias.name}") for alias in node.names)


def absolute(file: Path, node: ast.ImportFrom) -> str:
    """Return the module that `from x import` names, relative ones resolved under `etude`."""
    if node.level == 0:
        return node.module or ""
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    package = [*(["etude"] if parts[0] != "etude" else []), *parts][: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def layer_imports(layer: str) -> list[Import]:
    return [found for file in sorted((ROOT / layer).rglob("*.py")) for found in imports_of(file)]


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_that_it_may(layer: str) -> None:
    found = layer_imports(layer)
    assert found, f"no import found in {layer}/"
    ours = [each for each in found if each.top == "etude"]
    assert [str(each) for each in ours if not is_within(each.module, MAY_IMPORT[layer])] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_our_own_code_is_imported_under_its_package_name(layer: str) -> None:
    bare = [each for each in layer_imports(layer) if each.top in LAYERS and each.top != "etude"]
    assert [str(each) for each in bare] == []


def test_the_grammar_needs_nothing_but_the_standard_library_lark_and_msgspec() -> None:
    allowed = {*sys.stdlib_module_names, "etude", "lark", "msgspec"}
    foreign = [each for each in layer_imports("grammar") if each.top not in allowed]
    assert [str(each) for each in foreign] == []


@pytest.mark.parametrize("layer", ["compiler", "runtime", "etude"])
def test_only_the_backends_know_a_framework(layer: str) -> None:
    assert [str(each) for each in layer_imports(layer) if each.top in FRAMEWORKS] == []


@pytest.mark.parametrize("shared", ["program", "ops", "emission"])
def test_what_the_backends_share_with_the_compiler_knows_no_framework(shared: str) -> None:
    package = ROOT / "backends" / shared
    files = sorted(package.rglob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    found = [each for file in files if file.exists() for each in imports_of(file)]
    assert [str(each) for each in found if each.top in FRAMEWORKS] == []


@pytest.mark.parametrize(("backend", "others"), [("torch", {"jax", "flax", "optax"}), ("jax", {"torch"})])
def test_a_backend_does_not_know_the_other_framework(backend: str, others: set[str]) -> None:
    found = [each for file in sorted((ROOT / "backends" / backend).rglob("*.py")) for each in imports_of(file)]
    assert [str(each) for each in found if each.top in others] == []
    sibling = {"torch": "etude.backends.jax", "jax": "etude.backends.torch"}[backend]
    assert [str(each) for each in found if is_within(each.module, (sibling,))] == []


def heavy_after(program: str) -> set[str]:
    """Return which heavy packages a fresh Python has loaded after running `program`."""
    program += f"\nimport sys\nprint('loaded', *[name for name in {sorted(HEAVY)!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT / "docs"
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("module", ["etude.grammar.parser", "etude.compiler.pipeline", "etude.backends.ops.table"])
def test_what_checks_a_recipe_imports_no_array_library_no_framework_and_no_graph_library(module: str) -> None:
    assert heavy_after(f"import {module}") == set()


@pytest.mark.parametrize("recipe", ["simclr_v2", "vit"])
def test_checking_a_recipe_loads_no_array_library_no_framework_and_no_graph_library(recipe: str) -> None:
    arguments = ["check", str(ROOT / "examples" / f"{recipe}.etude")]
    program = f"""
from etude.runtime.cli.main import main
assert main({arguments!r}) == 0
"""
    assert heavy_after(program) == set()


def test_a_relative_import_is_resolved_under_the_package() -> None:
    node = ast.parse("from ..nodes import Span").body[0]
    assert isinstance(node, ast.ImportFrom)
    assert absolute(ROOT / "grammar" / "deep" / "inner.py", node) == "etude.grammar.nodes"


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("import os\ndef f():\n    from json import loads\n")
    assert [each.module for each in imports_of(file)] == ["os", "json.loads"]
