"""Drawings are kept in the store under what they show, so that a run which finds everything draws nothing."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any

from etude.compiler.keys import canonical_json
from etude.runtime.store import LostObject, Record, Store

Json = Any
LOOK = 3  # raised when drawings change their looks


def drawn_once(store: Store, subject: Json, draw: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    """The files that `draw` gives for this subject, by port, made once."""
    key = hashlib.sha256(canonical_json(["drawing", LOOK, subject])).hexdigest()
    record = store.record(key)
    if record is not None:
        with contextlib.suppress(LostObject):  # a drawing that is damaged is drawn anew
            return _files(store, record)
    started = time.time()
    outputs = {port: store.objects.put(data) for port, data in draw().items()}
    record = store.records.write(
        Record(
            key=key,
            kind="drawing",
            outputs=outputs,
            objects=store.sizes(set(outputs.values())),
            seconds=time.time() - started,
            created=started,
        )
    )
    return _files(store, record)


def _files(store: Store, record: Record) -> dict[str, bytes]:
    return {port: store.objects.read(hash) for port, hash in record.outputs.items()}
