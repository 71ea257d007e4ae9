"""A worker process: takes stages as JSON lines on standard input, answers with JSON lines on standard output.

Frameworks live here, never in the process that schedules. A worker ends when its input does, so none is left behind
when a run is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from etude.runtime.stages import Job, Settings, StageError, execute, loaded_backend
from etude.runtime.store import Store

Json = Any
Send = Callable[[Mapping[str, Json]], None]


def main() -> None:
    """Serve until standard input ends."""
    send = _replies()
    messages: queue.SimpleQueue[Json] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, messages), daemon=True).start()
    while True:
        message = messages.get()
        if "warm" in message:
            _warm(Settings(**message["warm"]), send)
        else:
            _serve(message, send)


def _replies() -> Send:
    """A function that answers on what was standard output; whatever libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: Mapping[str, Json]) -> None:
        with lock:
            stream.write(json.dumps(message) + "\n")
            stream.flush()

    return send


def _listen(stream: TextIO, messages: queue.SimpleQueue[Json]) -> None:
    for line in stream:
        messages.put(json.loads(line))
    os._exit(0)  # whoever asked is gone; a stage that is running has nobody to report to


def _warm(settings: Settings, send: Send) -> None:
    """Import the framework before the first stage needs it; what is wrong with it, that stage will say."""
    with contextlib.suppress(StageError):
        loaded_backend(settings.backend, settings.device, settings.threads)
    send({"kind": "warm"})


def _serve(message: Json, send: Send) -> None:
    """Execute one stage and answer `done` or `failed`."""
    task, started = message["task"], time.perf_counter()
    store = Store(message["store"])
    job = Job(
        store=store,
        kind=message["kind"],
        spec=message["spec"],
        inputs=message["inputs"],
        settings=Settings(**message["settings"]),
        base=Path(message["base"]),
        folder=Path(message["folder"]),
        fingerprint=message["fingerprint"],
        emit=lambda event: send({**event, "task": task}),
    )
    try:
        result = execute(job)
    except Exception as error:
        send({"kind": "failed", "task": task, "seconds": time.perf_counter() - started, **failure(error)})
        return
    send(
        {
            "kind": "done",
            "task": task,
            "seconds": time.perf_counter() - started,
            "outputs": result.outputs,
            "objects": store.sizes(result.all_objects()),
            "made": result.made,
            "source": result.source,
        }
    )


EXPECTED = {"StageError", "SourceError", "StoreError", "DamagedObject", "TrainingError", "ExpressionError"}


def failure(error: Exception) -> dict[str, Json]:
    """What a failed stage reports: one paragraph for people, the whole traceback for its file."""
    name = type(error).__name__
    message = str(error) if name in EXPECTED else f"internal error: {name}: {error}"
    checkpoint = getattr(error, "checkpoint", None)
    return {
        "message": message,
        "error": name,
        "traceback": "".join(traceback.format_exception(error)),
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }


if __name__ == "__main__":
    main()
