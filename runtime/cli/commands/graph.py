"""Draw the stages of a recipe, or what one stage computes.

Repeated stages (a sweep, seeds, the rounds of a loop) are one box with a badge, unless --expand is given. Results that
the store has already are marked. The suffix of the file decides on the format: svg, png and pdf are drawn by the
program `dot` of Graphviz; dot, mmd (Mermaid), html, json and txt need nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etude.runtime.cli import faults
from etude.runtime.cli.execution import Execution, chosen_target, file_faults, settings_for, store_to_read
from etude.runtime.cli.options import argument, flag, option
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.selection import one_stage
from etude.runtime.cli.terminal import paint_for
from etude.runtime.targets import find_target, installed_backends

if TYPE_CHECKING:
    from etude.compiler.draw.picture import Picture
    from etude.compiler.workflow import Workflow

EXAMPLES = (
    ("etude graph recipe.etude", "Print the stages as a tree of text."),
    ("etude graph recipe.etude -o graph.svg", "Draw the stages."),
    ("etude graph recipe.etude --level step --stage teacher -o teacher.png", "Draw a training step of one stage."),
)
MANY = 1_000  # boxes; `dot` takes seconds for one thousand and minutes for five


class Options(Execution):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    output: Path | None = option("the file to write", metavar="FILE", short="-o", parse=Path)
    format: str | None = option(
        "the format, where the suffix of -o does not say it (with no -o: to standard output)",
        choices=("svg", "png", "pdf", "dot", "mmd", "html", "json", "txt"),
    )
    level: str = option(
        "draw stages, or the tensor program of a stage", choices=("workflow", "step"), default="workflow"
    )
    stage: str | None = option("the stage for --level step, by name or glob", metavar="NAME")
    expand: bool = flag("draw every stage by itself")


def run(options: Options) -> int:
    format = _format(options)
    picture = _picture(options, workflow_of(options.file, options))
    if format == "txt" and options.output is None:
        from etude.compiler.draw.tree import picture_to_tree

        print(picture_to_tree(picture, paint_for(sys.stdout)), end="")
        return faults.OK
    from etude.compiler.draw.drawing import draw

    if len(picture.boxes) > MANY and format in ("svg", "png", "pdf", "html"):
        print(f"laying out {len(picture.boxes):,} boxes takes `dot` a while; json and mmd are quick", file=sys.stderr)
    data = draw(picture, format)
    if options.output is None:
        sys.stdout.buffer.write(data)
    else:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_bytes(data)
        print(f"wrote {options.output}", file=sys.stderr)
    return faults.OK


def _format(options: Options) -> str:
    from etude.compiler.draw.drawing import FORMATS

    if options.output is None:
        return options.format or "txt"
    suffix = options.output.suffix[1:].lower()
    format = {"mermaid": "mmd", "htm": "html", "gv": "dot"}.get(suffix, suffix)
    if options.format:
        if format in FORMATS and format != options.format:
            raise faults.UsageError(f"'{options.output.name}' is no name for a drawing in {options.format}")
        return options.format
    if format not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise faults.UsageError(f"no drawing is written as '{options.output.name}'", hint=f"the suffixes are {known}")
    return format


def _picture(options: Options, workflow: Workflow) -> Picture:
    if options.level == "step":
        from etude.compiler.draw.step import step_picture

        if options.stage is None:
            raise faults.UsageError("--level step needs --stage NAME", command="etude graph")
        return step_picture(one_stage(workflow, options.stage))
    if options.stage is not None:
        raise faults.UsageError("--stage goes with --level step", command="etude graph")
    from etude.compiler.draw.workflow import workflow_picture

    return workflow_picture(workflow, expand=options.expand, states=_states(options, workflow))


def _states(options: Options, workflow: Workflow) -> dict[str, str]:
    """Which stages the store knows; nothing is said of a store that is not there."""
    with file_faults():
        named = find_target(options.target, options.file.parent)
    if not options.store.is_dir() or not (options.backend or named.backend or installed_backends()):
        return {}
    target = chosen_target(options, options.file)
    from etude.runtime.planning import plan_stages

    settings = settings_for(target, workflow)
    with store_to_read(options.store, options.remote, options.file.parent) as store:
        planned = plan_stages(workflow, store, settings, options.file.parent)
    return {id: "cached" for id, each in planned.items() if each.action == "cached"}
