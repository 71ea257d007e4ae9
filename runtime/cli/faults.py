"""How a command ends: exit codes, and what is raised to end it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from etude.compiler.diagnostics import Diagnostic

OK, WRONG_RECIPE, WRONG_USE, CLAIM_FAILED, STAGE_FAILED, DOES_NOT_FIT, OUR_FAULT, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    70,
    130,
)
PARAM_VALUE = "E307"


class UsageError(Exception):
    """The command was used in a wrong way: exit code 2."""

    def __init__(self, message: str, *, command: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.command, self.hint = message, command, hint


class RecipeFaultError(Exception):
    """The recipe is wrong: its diagnostics are printed, exit code 1; or 2 where only what `--set` gives it is."""

    def __init__(self, files: Sequence[str], diagnostics: Sequence[Diagnostic], code: int = WRONG_RECIPE) -> None:
        super().__init__(f"{len(diagnostics)} problems")
        self.files, self.diagnostics, self.code = list(files), list(diagnostics), code


def recipe_code(diagnostics: Sequence[Diagnostic], settings: Sequence[str]) -> int:
    """The exit code of a recipe with errors that was given `settings`: whose fault is it?"""
    given = tuple(f"param '{each.partition('=')[0].strip()}':" for each in settings)
    errors = [each for each in diagnostics if each.severity == "error"]
    is_use = bool(errors) and all(each.code == PARAM_VALUE and each.message.startswith(given) for each in errors)
    return WRONG_USE if given and is_use else WRONG_RECIPE


class DoesNotFitError(Exception):
    """A stage needs more memory than the target has: exit code 5."""

    def __init__(self, stage: str, needed: int, available: int) -> None:
        super().__init__(
            f"stage `{stage}` does not fit: it needs about {needed / 1e9:.1f} GB, there are {available / 1e9:.1f} GB\n"
            "hint: make its batch or its model smaller, or run it on another target; `etude plan` shows every stage"
        )
        self.stage, self.needed, self.available = stage, needed, available


class PlanMovedError(Exception):
    """A saved plan no longer fits the world it was made in: exit code 2."""

    def __init__(self, path: Path, moved: Sequence[str]) -> None:
        lines = "".join(f"\n  {each}" for each in moved)
        super().__init__(f"{path} is no longer what would be run; since it was made, this moved:{lines}")
        self.moved, self.hint = list(moved), "plan again with `etude plan FILE -o FILE.json`, or run without --plan"


WORLD = {
    "etude.compiler.draw.engine.DotError": WRONG_USE,
    "etude.compiler.draw.step.NoProgramError": WRONG_USE,
    "etude.runtime.cli.faults.DoesNotFitError": DOES_NOT_FIT,
    "etude.runtime.cli.faults.PlanMovedError": WRONG_USE,
    "etude.runtime.runs.RunError": WRONG_USE,
    "etude.runtime.saved.ModelError": WRONG_USE,
    "etude.runtime.sources.SourceError": STAGE_FAILED,
    "etude.runtime.store.errors.StoreError": STAGE_FAILED,
    "etude.runtime.targets.file.TargetError": WRONG_USE,
    "etude.runtime.topologies.LibtpuMissingError": WRONG_USE,
    "etude.runtime.tracking.settings.TrackError": WRONG_USE,
}


UNUSABLE = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""A file that the command names and that is not there, or not for us; full and broken disks are no fault of its use."""


def world_fault(error: BaseException) -> int | None:
    """The exit code of an error that is the world's and not ours; classes go by name, so that none is imported."""
    for kind in type(error).__mro__:
        code = WORLD.get(f"{kind.__module__}.{kind.__qualname__}")
        if code is not None:
            return code
    if isinstance(error, UNUSABLE):
        return WRONG_USE
    return STAGE_FAILED if isinstance(error, OSError) else None


def world_text(error: BaseException) -> str:
    """What an error of the world says, without the numbers of the operating system."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)
