"""Say what a run would do: which stages the store knows already, what the others would cost, whether they fit.

Nothing is run. The times are rough estimates, except where the store knows them.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from etude.runtime.cli import faults
from etude.runtime.cli.execution import Execution, chosen_target, settings_for, store_to_read
from etude.runtime.cli.options import argument, flag, option
from etude.runtime.cli.recipes import workflow_of
from etude.runtime.cli.terminal import paint_for, print_json

EXAMPLES = (
    ("etude plan recipe.etude", "Show what would run."),
    ("etude plan recipe.etude --full", "And every setting, with the place that it comes from."),
    ("etude plan recipe.etude -o plan.json", "Keep the plan: `etude run --plan plan.json` runs exactly that."),
    ("etude plan recipe.etude --set budget=5epochs --json", "The same of a shorter run, as one JSON object."),
)


class Options(Execution):
    file: Path = argument("the recipe", metavar="FILE", parse=Path)
    out: Path | None = option(
        "write the plan for `etude run --plan`", metavar="PLAN.json", short="-o", name="--out", parse=Path
    )
    full: bool = flag("show every setting, and where it comes from")
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    from etude.compiler.watch import watching
    from etude.runtime.cli.full import full_to_json, full_to_text
    from etude.runtime.cli.plans import make_plan, plan_to_json, plan_to_text

    with watching() if options.full else nullcontext() as watch:
        workflow = workflow_of(options.file, options)
    target = chosen_target(options, options.file)
    with store_to_read(options.store, options.remote, options.file.parent) as store:
        store.trusts_times = not options.verify
        plan = make_plan(workflow, target, settings_for(target, workflow), store, options.file.parent)
    if options.json:
        full = {} if watch is None else {"settings": full_to_json(plan, watch, options)}
        print_json({**plan_to_json(plan), **full})
    else:
        print(plan_to_text(plan, paint_for(sys.stdout)), end="")
        if watch is not None:
            print(full_to_text(plan, watch, options, paint_for(sys.stdout)), end="")
    if options.out is not None:
        from etude.runtime.cli.saved_plans import plan_to_save

        saved = plan_to_save(plan, options, options.file)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fits = all(plan.estimates[id].fits for id in plan.runs)
    return faults.OK if fits else faults.DOES_NOT_FIT
