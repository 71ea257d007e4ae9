"""What `etude plan --full` adds: every setting of each stage and of the target, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from etude.backends.meshes import mesh_text
from etude.compiler.draw.picture import TIMES
from etude.compiler.draw.repeats import repeat_classes, stem
from etude.compiler.provenance import resolved_settings
from etude.compiler.wording import value_text
from etude.runtime.cli.recipes import overrides

if TYPE_CHECKING:
    from etude.compiler.render.ansi import Paint
    from etude.compiler.watch import Watch
    from etude.runtime.cli.execution import Execution
    from etude.runtime.cli.plans import Plan

Json = Any
TARGET_SETTINGS = ("backend", "device", "precision", "random", "compile", "mesh", "chip", "topology")


def full_settings(
    plan: Plan, watch: Watch, options: Execution
) -> Iterator[tuple[str, int, list[tuple[str, str, str]]]]:
    """The settings of each stage that is not a repetition of another: (name, how many it stands for, settings)."""
    classes = repeat_classes(plan.workflow)
    counts: dict[str, int] = {}
    for id in plan.workflow.stages:
        counts[classes[id]] = counts.get(classes[id], 0) + 1
    given = overrides(options.set)
    for id, count in counts.items():
        stage = plan.workflow.stages[id]
        if id in watch.stages:
            found = resolved_settings(stage, watch, given)
            rows = [(path, value_text(path, value), origin) for path, value, origin in found]
            if rows:
                yield stage.name, count, rows
    yield f"target {plan.target.name}", 1, list(_target_settings(plan, options))


def _target_settings(plan: Plan, options: Execution) -> Iterator[tuple[str, str, str]]:
    target = plan.target
    for name in TARGET_SETTINGS:
        value = getattr(target, name)
        if value is None:
            continue
        if name == "backend" and options.backend:
            origin = "--backend"
        elif name in target.settings:
            origin = f"etude.toml, target {target.name}"
        elif name == "backend" and target.name == "cpu":
            origin = "what is installed"
        else:
            origin = f"default of target {target.name}"
        yield name, _setting_text(name, value), origin
    for stage, settings in target.stages.items():
        for name, value in settings.items():
            yield f"{stage}: {name}", _setting_text(name, value), f"etude.toml, target {target.name}, stage {stage}"


def _setting_text(name: str, value: Any) -> str:
    return mesh_text(value) if name == "mesh" else value_text(name, value)


def full_to_json(plan: Plan, watch: Watch, options: Execution) -> list[Json]:
    """The field `settings` of `etude plan --full --json`."""
    return [
        {"stage": name, "count": count, "settings": [{"name": n, "value": v, "from": f} for n, v, f in rows]}
        for name, count, rows in full_settings(plan, watch, options)
    ]


def full_to_text(plan: Plan, watch: Watch, options: Execution, paint: Paint) -> str:
    """A paragraph for each stage, a line for each setting."""
    lines = []
    for name, count, rows in full_settings(plan, watch, options):
        lines += ["", paint(f"{stem(name)} {TIMES}{count}" if count > 1 else name, "bold")]
        widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
        lines += [f"  {n:<{widths[0]}}  {v:<{widths[1]}}  {paint(f, 'grey')}" for n, v, f in rows]
    return "".join(f"{line}\n" for line in lines)
