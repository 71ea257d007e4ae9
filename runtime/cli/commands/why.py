"""Say why a stage would run: the first difference from what was recorded of it, or that it is cached.

It is compared with the stage of that name in the latest runs of the recipe, else with the most similar one that the
store knows.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etude.runtime.cli import faults
from etude.runtime.cli.execution import Execution, chosen_target, settings_for, store_to_read
from etude.runtime.cli.options import argument, flag
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import paint_for, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etude.compiler.render.ansi import Paint
    from etude.runtime.explaining import Explanation

EXAMPLES = (
    ("etude why recipe.etude tuned", "Say what changed, so that `tuned` would run again."),
    ('etude why recipe.etude "trials*" --json', "The same of several stages, as one JSON object."),
)


class Options(Execution):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    stage: str = argument("the stage, by name or glob", metavar="STAGE")
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.runtime.cli.selection import select_stages
    from etude.runtime.explaining import Explainer
    from etude.runtime.planning import plan_stages
    from etude.runtime.smoke import as_asked

    workflow = as_asked(workflow_of(options.file, options))
    stages = select_stages(workflow, options.stage)
    settings = settings_for(chosen_target(options, options.file), workflow)
    with store_to_read(options.store, options.remote, options.file.parent) as store:
        store.trusts_times = not options.verify
        planned = plan_stages(workflow, store, settings, options.file.parent)
        explainer = Explainer(workflow, planned, store, settings)
        found = [explainer.explain(stage.id) for stage in stages]
    if options.json:
        rest = {"stages": [each.to_json() for each in found]} if len(found) > 1 else {}
        print_json({**found[0].to_json(), **rest})
    else:
        print(explanations_text(found, options.file, paint_for(sys.stdout)), end="")
    return faults.OK


def explanations_text(found: Sequence[Explanation], file: Path, paint: Paint) -> str:
    """A paragraph for each explanation; stages that fare alike share one."""
    groups: dict[tuple[object, ...], list[Explanation]] = {}
    for each in found:
        same = (each.stage.kind, each.action, each.reason, *each.changed, *each.chain)
        groups.setdefault(same, []).append(each)
    return "".join(_paragraph(members, file, paint) for members in groups.values())


def _paragraph(members: Sequence[Explanation], file: Path, paint: Paint) -> str:
    first = members[0]
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    verb = "would run" if first.action == "run" else first.action
    place = f" ({file}:{first.stage.line})" if first.stage.line else ""
    lines = [f"{paint(first.stage.name, 'bold')}{more} {verb}: {first.reason}{paint(place, 'grey')}"]
    lines += [f"  {name}: {change}" for name, change in first.chain]
    lines += [f"  also {change}" for change in first.changed[1:]]
    if first.compared_with:
        lines.append(paint(f"  compared with {first.compared_with}", "grey"))
    return "".join(f"{line}\n" for line in lines)
