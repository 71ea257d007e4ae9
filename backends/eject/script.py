"""Put a script together: constants, what the step calls, the step as it is emitted, and the loop."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from etude.backends.eject import About, Ejected, NotEjectableError
from etude.backends.eject.linking import Linker, import_lines
from etude.backends.eject.loops import FRAMEWORKS, loop_text
from etude.backends.eject.settings import LoopSettings
from etude.backends.eject.sources import Import, Module, module_named
from etude.backends.eject.specializing import specialized
from etude.backends.emission import Emitted
from etude.backends.inputs import program_columns

Json = Any
DEFINED = re.compile(r"^(?:@.*\n)*(?:def|class) (\w+)", re.MULTILINE)
WORD = re.compile(r"\w+")
ABOUT = """

The step, the draws and the order of batches are those of the recipe's run, and so are the losses. Reads `inputs.npz`
beside this file; prints the history, and writes it to `history.csv` and the weights to `weights.npz`.
"""


# What the loops of scripts take into account. A setting that is not here changes what a run computes, not a script.
KNOWN = {
    *(
        "steps",
        "schedule",
        "batch",
        "budget",
        "clip",
        "valid",
        "keep",
        "score",
        "patience",
        "seed",
        "ema",
        "copies",
        "state",
    ),
    *(
        "inputs",
        "slots",
        "results",
        "names",
        "columns",
        "identity",
        "more",
        "accumulate",
        "weights",
        "order",
        "checkpoints",
    ),
}


def eject_train(spec: Mapping[str, Json], backend: str, about: About) -> Ejected:
    """The script that trains a stage on "torch" or "jax". Imports no framework. Raises `NotEjectableError`."""
    unknown = [name for name, value in spec.items() if value and name not in KNOWN]
    if unknown:
        raise NotEjectableError(f"`{about.stage}` has `{unknown[0]}`, which scripts do not do yet")
    _refuse(spec, about.stage)
    emitted: Emitted = importlib.import_module(f"etude.backends.{backend}.emit").emit_train(spec)
    step = Module("<step>", emitted.source)
    loop = Module("<loop>", loop_text(backend, LoopSettings.of(spec), about))
    linker = Linker({*step.blocks, *step.imports})
    spaces = link_imports(linker, step)
    called = linker.take()
    constants = _add(linker, loop, are_constants=True)
    functions = _add(linker, loop, are_constants=False)
    main = linker.add(loop, "main")
    rest = [*constants, *spaces, step.body, *functions]
    called = specialized(called, "\n".join(rest))
    words = set(WORD.findall("\n".join([*called, *rest])))
    imports = {name: imported for name, imported in linker.imports.items() if name in words}
    heading = f"Train `{about.stage}` of {about.recipe} on {FRAMEWORKS[backend]}."
    blocks = [
        f'"""{heading}{ABOUT}"""\n\nfrom __future__ import annotations\n',
        "\n".join([*import_lines(imports), ""]),
        joined(constants),
        section("What the step calls", joined([*constants_first(called), *spaces])),
        section("The step", step.body),
        section("The loop", joined(constants_first(functions))),
        f'\n\nif __name__ == "__main__":\n    {main}()\n',
    ]
    return Ejected("\n".join(block for block in blocks if block), emitted.slots)


def _refuse(spec: Mapping[str, Json], stage: str) -> None:
    """Raise `NotEjectableError` for settings that scripts know, with values that they do not."""
    if any(name for setting in ("weights", "order") for name in spec.get(setting) or ()):
        raise NotEjectableError(f"`{stage}` orders several data sets, which scripts do not do yet")
    if "seconds" in spec["budget"]:
        raise NotEjectableError(f"`{stage}` has a budget of time, which scripts do not do yet")
    if spec["valid"] and any(name.startswith("@held.") for name in program_columns(spec["valid"]["loss"])):
        raise NotEjectableError(f"`{stage}` validates with its state, which scripts do not do yet")


def link_imports(linker: Linker, step: Module) -> list[str]:
    """Gather what the emitted step imports; return the lines that stand for modules of ours that it names."""
    spaces = []
    for local, imported in sorted(step.imports.items(), key=lambda item: item[1].is_ours):
        if imported.is_ours and imported.name and _is_package(imported.module):
            spaces.append(_space(linker, step, local, module_named(f"{imported.module}.{imported.name}")))
        else:
            name = linker.add_import(local, imported, is_kept=True)
            assert name == local
    return spaces


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def _space(linker: Linker, step: Module, local: str, module: Module) -> str:
    """What stands for `module` in the step: a name for each of its functions that the step mentions."""
    mentioned = sorted(
        {
            node.attr
            for node in ast.walk(ast.parse(step.body))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == local
        }
    )
    arguments = [f"{name}={linker.add(module, name)}" for name in mentioned]
    space = linker.add_import("SimpleNamespace", Import("types", "SimpleNamespace"))
    return f"{local} = {space}({', '.join(arguments)})"


def _add(linker: Linker, module: Module, *, are_constants: bool) -> list[str]:
    for name, nodes in module.blocks.items():
        if isinstance(nodes[0], ast.Assign) == are_constants:
            linker.add(module, name)
    return linker.take()


def section(heading: str, text: str) -> str:
    """A text under a heading; nothing where there is none."""
    if not text:
        return ""
    return f"\n\n# {heading}\n\n\n{text}" if DEFINED.match(text) else f"\n\n# {heading}\n\n{text}"


def constants_first(blocks: list[str]) -> list[str]:
    """Move to the front the constants that need no function or class of these blocks."""
    defined = {name for block in blocks for name in DEFINED.findall(block)}
    simple = [block for block in blocks if _is_line(block) and defined.isdisjoint(WORD.findall(block))]
    return [*simple, *(block for block in blocks if block not in simple)]


def joined(blocks: list[str]) -> str:
    """Definitions with two empty lines around functions and classes."""
    text = ""
    for before, block in pairwise(["", *blocks]):
        gap = "" if not before else "\n" if _is_line(before) and _is_line(block) else "\n\n\n"
        text += gap + block
    return text


def _is_line(block: str) -> bool:
    return not DEFINED.search(block)
