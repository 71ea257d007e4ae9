"""Make a folder with a recipe to start from.

The recipe trains a small network on handwritten digits over three seeds, states a claim, and reports.
"""

from __future__ import annotations

from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, argument

EXAMPLES = (
    ("etude new digits", "Make the folder digits with the recipe digits/digits.etude."),
    ("etude new papers/simclr", "Make a folder inside another one."),
)
TEMPLATE = Path(__file__).parents[1] / "starter.etude"
IGNORED = ".etude/\n"


class Options(OptionSet):
    name: Path = argument("the folder to make", metavar="NAME", parse=Path)


def run(options: Options) -> int:
    folder = options.name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise faults.UsageError(f"{folder} exists already and is not an empty folder")
    if not folder.name:
        raise faults.UsageError("the folder needs a name")
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / f"{folder.name}.etude"
    recipe.write_text(TEMPLATE.read_text(encoding="utf-8").replace("NAME", folder.name), encoding="utf-8")
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    print(f"made {recipe}\n\nnext:\n  etude check {recipe}\n  etude graph {recipe}\n  etude run {recipe}")
    return faults.OK
