"""The end of a training as an artifact, from which another training goes on."""

from __future__ import annotations

import json
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save

from etude.backends.snapshots import Snapshot
from etude.runtime.stages import Job, StageError

Json = Any


def end_bytes(end: Snapshot, backend: str) -> bytes:
    """A snapshot without earlier steps, and the framework whose optimizers it is of."""
    about = {"step": end.step, "facts": end.facts, "backend": backend}
    return save(dict(end.state), metadata={"about": json.dumps(about, sort_keys=True)})


def read_end(job: Job, index: int) -> Snapshot:
    """The end of the training that is an input of a job. Raises `StageError` where another framework made it."""
    hash = job.inputs[index]
    assert hash is not None, "what a training goes on from was not made"
    with safe_open(str(job.store.objects.path(hash)), framework="numpy") as file:
        about: Json = json.loads(file.metadata()["about"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    if about["backend"] != job.settings.backend:
        text = f"a training on {job.settings.backend} cannot go on from one on {about['backend']}"
        raise StageError(text, hint="run both on one backend")
    return Snapshot(about["step"], state, {}, about["facts"])
