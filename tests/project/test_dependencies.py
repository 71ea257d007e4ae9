"""What is imported is declared, and what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("etude", "grammar", "compiler", "runtime", "backends")
IMPORTED_AS = {"scikit-learn": "sklearn", "orbax-checkpoint": "orbax", "pillow": "PIL"}
NOT_IMPORTED = {
    "onnx": "PyTorch's exporter needs it",
    "onnxscript": "PyTorch's exporter needs it",
    "orbax-checkpoint": "flax needs it below 1.0",
    "tensorboard": "its files are written here, it shows them",
}
BY_HAND = {"mlflow", "wandb", "datasets"}  # clients of services: whoever uses these installs them


def names(requirements: list[str]) -> set[str]:
    found = {match[0] for text in requirements if (match := re.match(r"[A-Za-z0-9_-]+", text))}
    return found - {PROJECT["name"]}


def imported() -> set[str]:
    """Return the top-level names of all modules that the packages import, in functions too, ours left out."""
    found = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"etude"}


EXTRAS = PROJECT["optional-dependencies"]
CORE = names(PROJECT["dependencies"])
DECLARED = CORE | {
    name for extra in ("torch", "jax", "data", "report", "remote", "track", "onnx") for name in names(EXTRAS[extra])
}


def test_every_imported_package_is_declared() -> None:
    modules = {IMPORTED_AS.get(name, name) for name in DECLARED}
    assert sorted(imported() - modules - BY_HAND - {"jaxlib"}) == []


def test_every_declared_package_is_imported_or_has_a_reason() -> None:
    modules = imported()
    unused = {name for name in DECLARED if IMPORTED_AS.get(name, name) not in modules}
    assert sorted(unused - NOT_IMPORTED.keys()) == []


def test_every_declared_package_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    wanted = {name.lower().replace("_", "-") for name in DECLARED | names(EXTRAS["dev"])}
    assert sorted(wanted - pinned) == []


def test_pins_are_exact_and_of_no_local_build() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)] == []
