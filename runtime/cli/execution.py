"""What the commands that run or plan recipes share: the store, the target, the backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.runtime.cli.faults import UsageError
from etude.runtime.cli.options import Adjustments, flag, option
from etude.runtime.targets import BACKENDS, Target, find_target, installed_backends

if TYPE_CHECKING:
    from etude.runtime.stages import Settings
    from etude.runtime.store import Store

DEFAULT_STORE = Path(os.environ.get("ETUDE_STORE") or ".etude")


@dataclass(frozen=True, kw_only=True)
class Execution(Adjustments):
    """Options of every command that looks for results."""

    backend: str | None = option(
        "the framework to run on (default: the target's, or what is installed)", choices=BACKENDS
    )
    target: str = option("where to run: cpu, gpu, tpu, or one of etude.toml", metavar="NAME", default="cpu")
    store: Path = option("where results are kept", metavar="DIR", default=DEFAULT_STORE, parse=Path)
    verify: bool = flag("read every data file again, whatever its size and times say")


def chosen_target(options: Execution, recipe: Path) -> Target:
    """The target with its backend decided. Raises TargetError, UsageError."""
    from dataclasses import replace

    target = find_target(options.target, [recipe.parent, Path()])
    if options.backend and target.backend not in (None, options.backend):
        raise UsageError(f"the target '{target.name}' runs on {target.backend}, not on {options.backend}")
    backend = options.backend or target.backend or next(iter(installed_backends()), None)
    if backend is None:
        raise UsageError("no backend is installed", hint='pip install "etude-lang[torch]" or "etude-lang[jax]"')
    return replace(target, backend=backend)


def settings_for(target: Target) -> Settings:
    """How stages run on a target, as keys see it."""
    from etude.runtime.stages import Settings

    assert target.backend is not None
    return Settings(backend=target.backend, device=target.device, precision=target.precision)


@contextmanager
def store_to_read(path: Path) -> Iterator[Store]:
    """The store, or an empty one for the moment where there is none: looking makes no folder."""
    import tempfile

    from etude.runtime.store import Store

    if path.is_dir():
        yield Store(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Store(folder)
