"""A worker process: takes stages as JSON lines on standard input, answers with JSON lines on standard output.

Frameworks live here, never in the process that schedules. A worker ends when its input does, so none is left behind
when a run is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from etude.runtime.stages import Job, Settings, StageError, execute, loaded_backend
from etude.runtime.store import LostObject, Store
from etude.runtime.store.files import explained

Json = Any
Send = Callable[[Mapping[str, Json]], None]


def main() -> None:
    """Serve until standard input ends."""
    send = _replies()
    messages: queue.SimpleQueue[Json] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(sys.stdin, messages, stop), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # of who ends all processes of a session; Ctrl-C goes to the run
        signal.signal(number, lambda *_: stop.set())
    while True:
        message = messages.get()
        if "warm" in message:
            _warm(Settings(**message["warm"]), send)
        else:
            _serve(message, send, stop)


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


def _listen(stream: TextIO, messages: queue.SimpleQueue[Json], stop: threading.Event) -> None:
    for line in stream:
        message = json.loads(line)
        if "stop" in message:
            stop.set()
        else:
            messages.put(message)
    os._exit(0)  # whoever asked is gone; a stage that is running has nobody to report to


def _warm(settings: Settings, send: Send) -> None:
    """Import the framework before the first stage needs it; what is wrong with it, that stage will say."""
    with contextlib.suppress(StageError):
        loaded_backend(settings.backend, settings.device, settings.threads, settings.numerics).warm()
    send({"kind": "warm"})


def _serve(message: Json, send: Send, stop: threading.Event) -> None:
    """Execute one stage and answer `done`, `failed` or `stopped`."""
    task, started = message["task"], time.perf_counter()
    store = Store(**message["store"])
    job = Job(
        store=store,
        kind=message["kind"],
        spec=message["spec"],
        inputs=message["inputs"],
        settings=Settings(**message["settings"]),
        base=Path(message["base"]),
        folder=Path(message["folder"]),
        fingerprint=message["fingerprint"],
        key=message.get("key"),
        emit=lambda event: send({**event, "task": task}),
        stop=stop.is_set,
    )
    try:
        result = execute(job)
        objects = store.sizes(result.all_objects())
        if message.get("framework"):
            job.backend().release()
    except Exception as error:
        kind = "stopped" if type(error).__name__ in {"TrainingStopped", "StageStopped"} else "failed"
        progress = {name: getattr(error, name) for name in ("step", "steps") if hasattr(error, name)}
        send({"kind": kind, "task": task, "seconds": time.perf_counter() - started, **progress, **failure(error)})
        return
    send(
        {
            "kind": "done",
            "task": task,
            "seconds": time.perf_counter() - started,
            "outputs": result.outputs,
            "objects": objects,
            "made": result.made,
            "source": result.source,
        }
    )


EXPECTED = {"StageError", "SourceError", "StoreError", "TrainingError", "ExpressionError"}
# How the frameworks say that there is not enough memory: by a class of their own, or in the message of a general one.
NO_MEMORY = (
    "RESOURCE_EXHAUSTED", "out of memory", "not enough memory", "DefaultCPUAllocator", "Unable to allocate",
    "ALLOC_FAILED",
)  # fmt: skip
# What leaves a process without its GPU: nothing that it starts there afterwards works.
DEVICE_FAILED = ("CUDA error", "CUDA_ERROR", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "CUSOLVER_STATUS")
IN_RANGE = "hint: an index out of its range ends like this on a GPU; on the processor (--target cpu) it is told which"
MORE_MEMORY = (
    "hint: make its batch or its model smaller, run fewer stages side by side (--jobs 1), or use another target"
)


def failure(error: Exception) -> dict[str, Json]:
    """What a failed stage reports: one paragraph for people, the whole traceback for its file.

    `error` is a name that says what may mend it, see `setbacks`; `lost` the object that has to be made anew, if any.
    """
    name, message = _explained(error)
    checkpoint = getattr(error, "checkpoint", None)
    return {
        "message": message,
        "error": name,
        "traceback": "".join(traceback.format_exception(error)),
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "lost": error.hash if isinstance(error, LostObject) else None,
    }


def _explained(error: Exception) -> tuple[str, str]:
    names = {kind.__name__ for kind in type(error).__mro__}
    if _is_for_want_of_memory(error):
        return "OutOfMemory", f"there is not enough memory: {_first_line(error)}\n{MORE_MEMORY}"
    if any(words in str(error) for words in DEVICE_FAILED) and "RuntimeError" in names:
        return "DeviceFailed", f"the GPU failed: {_first_line(error)}\n{IN_RANGE}"
    if isinstance(error, OSError) and (found := explained(error, Path(error.filename or "."))):
        return "StoreError", str(found)
    if names & EXPECTED:
        return type(error).__name__, str(error)
    kind = next((kind for kind in ("ConnectionError", "TimeoutError") if kind in names), None)
    if kind is not None:
        return kind, f"the network failed: {_first_line(error)}"
    return type(error).__name__, f"internal error: {type(error).__name__}: {error}"


def _is_for_want_of_memory(error: Exception) -> bool:
    """Whether a framework, or Python, could not get memory; recognised by name, so that nothing is imported."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    is_general = any(kind.__name__ in {"RuntimeError", "ArrowMemoryError"} for kind in type(error).__mro__)
    return is_general and any(words in str(error) for words in NO_MEMORY)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    main()
