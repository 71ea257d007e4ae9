"""Find stages by the names that people give them."""

from __future__ import annotations

from etude.compiler.draw.repeats import stem
from etude.compiler.workflow import Stage, Workflow
from etude.runtime.cli.faults import UsageError


def select_stages(workflow: Workflow, pattern: str) -> list[Stage]:
    """The stages of that name, else of that name without what stands in brackets, else those that match the glob.

    A name is given whole or by its last parts (`teacher` for `trials[seed=1].teacher`). Raises UsageError for none.
    """
    stages = list(workflow.stages.values())
    for test in (is_named, is_stemmed, matches):
        found = [stage for stage in stages if test(stage.name, pattern) or stage.id == pattern]
        if found:
            return found
    import difflib

    names = [stage.name for stage in stages]
    close = difflib.get_close_matches(pattern, [*names, *map(stem, names)], 1)
    raise UsageError(
        f"no stage is called '{pattern}'",
        hint=f"did you mean '{close[0]}'?" if close else "`etude graph FILE` lists the stages",
    )


def one_stage(workflow: Workflow, pattern: str) -> Stage:
    """The first of the stages that are meant; one with a tensor program before those without."""
    found = select_stages(workflow, pattern)
    return next((stage for stage in found if "steps" in stage.spec or "program" in stage.spec), found[0])


def is_named(name: str, pattern: str) -> bool:
    return name == pattern


def is_stemmed(name: str, pattern: str) -> bool:
    return stem(name) == pattern or stem(name).endswith(f".{pattern}")


def matches(name: str, pattern: str) -> bool:
    """Whether a glob matches in which brackets stand for themselves."""
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))
