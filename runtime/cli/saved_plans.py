"""Plans kept in files: `plan -o plan.json` writes one, `run --plan plan.json` runs exactly that or says what moved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from etude.runtime.cli.faults import PlanMovedError, UsageError

if TYPE_CHECKING:
    from etude.compiler.workflow import Workflow
    from etude.runtime.cli.execution import Execution
    from etude.runtime.cli.plans import Plan
    from etude.runtime.planning import PlannedStage
    from etude.runtime.targets import Target

Json = Any
FORMAT = 1
E = TypeVar("E", bound="Execution")


def plan_to_save(plan: Plan, options: Execution, file: Path) -> Json:
    """A plan with all that it rests on: the recipe as it was understood, data, versions, and the target."""
    from etude.runtime.cli.plans import plan_to_json

    return {
        "format": FORMAT,
        "file": str(file),
        "settings": {"set": list(options.set), "seed": options.seed, "max_stages": options.max_stages},
        "world": {
            "recipe": recipe_of(plan.workflow),
            "data": sources_of(plan.stages),
            "versions": versions(str(plan.target.backend)),
            "target": target_of(plan.target),
        },
        **plan_to_json(plan),
    }


def read_plan(path: Path) -> Json:
    """A saved plan. Raises UsageError when the file is none."""
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a plan: {error}", hint="`etude plan FILE -o plan.json` writes one") from error
    if not isinstance(plan, dict) or plan.get("format") != FORMAT or "world" not in plan:
        raise UsageError(f"{path} is not a saved plan", hint="`etude plan FILE -o plan.json` writes one")
    return plan


def as_planned(options: E, plan: Json) -> E:
    """The options with the recipe, the settings and the target that a plan was made with. Raises UsageError."""
    given = [f"--{name}" for name in ("params", "set", "seed", "only") if getattr(options, name, None)]
    if given:
        raise UsageError(f"--plan runs exactly what was planned: it goes without {', '.join(given)}")
    changes = {**plan["settings"], "set": tuple(plan["settings"]["set"]), "target": plan["target"]}
    file = getattr(options, "file", None) or Path(plan["file"])
    backend = options.backend or plan["backend"]
    target = options.target if options.target != "cpu" else changes["target"]
    return msgspec.structs.replace(options, **{**changes, "file": file, "backend": backend, "target": target})


def refuse_what_moved(
    plan: Json, workflow: Workflow, planned: Mapping[str, PlannedStage], target: Target, path: Path
) -> None:
    """Raises PlanMovedError when the world is not the one that the plan was made in."""
    moved = list(_moved(plan, workflow, planned, target))
    if moved:
        raise PlanMovedError(path, moved)


def _moved(plan: Json, workflow: Workflow, planned: Mapping[str, PlannedStage], target: Target) -> Iterator[str]:
    from etude.runtime.planning import listed

    world = plan["world"]
    before, now = world["recipe"], recipe_of(workflow)
    others = [name for name in dict.fromkeys((*now, *before)) if before.get(name) != now.get(name)]
    if sorted(before.values()) != sorted(now.values()):
        yield f"the recipe: {listed(others)} {'is' if len(others) == 1 else 'are'} not what was planned"
        return
    data = sources_of(planned)
    changed = [name for name, found in world["data"].items() if data.get(name) != found]
    if changed:
        yield f"the data: {listed(changed)} {'has' if len(changed) == 1 else 'have'} other content"
    yield from _differing("the version of ", world["versions"], versions(str(target.backend)))
    yield from _differing("the target's ", world["target"], target_of(target))
    gone = _no_longer_cached(plan, planned)
    if gone:
        yield f"the store: {listed(gone)} {'is' if len(gone) == 1 else 'are'} no longer there"


def _differing(what: str, before: Mapping[str, Json], now: Mapping[str, Json]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            yield f"{what}{name}: {before.get(name)} -> {now.get(name)}"


def _no_longer_cached(plan: Json, planned: Mapping[str, PlannedStage]) -> list[str]:
    """Stages that the plan found in the store and that would have to run now."""
    actions = {each.stage.name: each.action for each in planned.values()}
    return [s["name"] for s in plan["stages"] if s["action"] == "cached" and actions.get(s["name"]) == "run"]


def recipe_of(workflow: Workflow) -> dict[str, str]:
    """What each stage does, by name."""
    from etude.compiler.keys import recipe_keys

    return {workflow.stages[id].name: key for id, key in recipe_keys(workflow).items()}


def sources_of(planned: Mapping[str, PlannedStage]) -> dict[str, str | None]:
    """The content of every source by its address."""
    loads = [each for each in planned.values() if each.stage.kind == "load" and each.action != "dropped"]
    return {each.stage.spec["uri"]: each.identity.fingerprint if each.identity else None for each in loads}


def target_of(target: Target) -> dict[str, Json]:
    """What a target says of how stages run; not where that is written."""
    names = [each.name for each in dataclasses.fields(target) if each.compare]
    found: dict[str, Json] = json.loads(json.dumps({name: getattr(target, name) for name in names}))
    return found


def versions(backend: str) -> dict[str, str | None]:
    """The versions of what computes the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    from etude import __version__

    found: dict[str, str | None] = {"etude": __version__}
    for name in ("numpy", backend):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
