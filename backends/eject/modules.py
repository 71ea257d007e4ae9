"""A model as a module of its own: its classes as they are emitted for PyTorch, and how to load and to call it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etude.backends.eject import Ejected
from etude.backends.eject.linking import Linker, import_lines
from etude.backends.eject.script import constants_first, joined, link_imports, section
from etude.backends.eject.sources import Module
from etude.backends.emission import Emitted
from etude.backends.randomness import stage_key

Json = Any
TAIL = '''

class Model(Models):
    """`{name}`, called on a batch of rows."""

    def forward(self{parameters}) -> {returns}:
        ids = torch.arange({first}.shape[0], device={first}.device, dtype=torch.int32)
        made = rows(self, {batch}, ids, {key})
        return {result}


def load(folder: str | Path = Path(__file__).parent) -> Model:
    """Return the model with the weights of a folder, in evaluation."""
    model = Model()
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval()
'''


@dataclass(frozen=True)
class ModuleAbout:
    """What a module says of itself, and the names of what it is called with, in order."""

    model: str
    recipe: str
    run: str
    inputs: Sequence[str]


def ejected_module(spec: Mapping[str, Json], outputs: Sequence[str], about: ModuleAbout) -> Ejected:
    """The text of a module for PyTorch that needs no Etude, with where each slot lives in its `state_dict`."""
    emitted: Emitted = importlib.import_module("etude.backends.torch.emit").emit_rows(spec)
    program = Module("<rows>", emitted.source)
    linker = Linker({*program.blocks, *program.imports, "Model", "load", "Path", "load_file"})
    spaces = link_imports(linker, program)
    called = linker.take()
    imports = [*import_lines(linker.imports), "from safetensors.torch import load_file"]
    heading = f"`{about.model}`, as run {about.run} of {about.recipe} trained it: `load()(inputs)`."
    blocks = [
        f'"""{heading}"""\n\nfrom __future__ import annotations\n\nfrom pathlib import Path\n',
        "\n".join([*imports, ""]),
        section("What the model calls", joined([*constants_first(called), *spaces])),
        section("The model", program.body),
        _tail(spec, outputs, about),
    ]
    return Ejected("\n".join(block for block in blocks if block), emitted.slots)


def _tail(spec: Mapping[str, Json], outputs: Sequence[str], about: ModuleAbout) -> str:
    single = len(outputs) == 1
    used = {name for name, *_ in spec["program"]["subs"][-1]["inputs"]}
    arguments = {name: f"{name}_" if name in ("self", "rows", "ids", "made") else name for name in about.inputs}
    return TAIL.format(
        name=about.model,
        parameters="".join(f", {argument}: Tensor" for argument in arguments.values()),
        returns="Tensor" if single else "dict[str, Tensor]",
        first=next(iter(arguments.values())),
        batch="{" + ", ".join(f'"{name}": {text}' for name, text in arguments.items() if name in used) + "}",
        key=stage_key(spec),
        result=f'made["{outputs[0]}"]' if single else "made",
    )
