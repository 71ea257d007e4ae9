"""Checkpoints inside of a training: how far it is, in the folder `partial/<key>/` of the store while it has no record.

A folder holds the last two checkpoints: `<step>.json` says what each needs, with its hash as the last line, and
`<sha256>.safetensors` are the arrays. Nothing but the stage with this key uses them; anybody may remove them. This file
imports nothing heavy; who trains uses `keeper`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etude.runtime.store import Store

SECONDS_VARIABLE = "ETUDE_CHECKPOINT_SECONDS"
STEPS_VARIABLE = "ETUDE_CHECKPOINT_STEPS"


def partial_folder(store: Store, key: str) -> Path:
    """Where the checkpoints of the stage with a key are, or would be."""
    return store.partial / key


def kept_steps(store: Store, key: str) -> list[int]:
    """The steps after which there is a checkpoint of a stage, the latest first."""
    try:
        names = os.listdir(partial_folder(store, key))
    except OSError:
        return []
    return sorted((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()), reverse=True)


def remove_partial(store: Store, key: str) -> None:
    """Remove the checkpoints of a stage that is finished, as far as that is possible."""
    shutil.rmtree(partial_folder(store, key), ignore_errors=True)
