"""How fast this machine computes: measured once in a few hundredths of a second, and kept for each user and machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from etude.runtime.processors import available_cores

DAYS_KEPT = 30  # a machine that was busy when it was measured is measured again
SHARE_OF_PEAK = 0.3  # what programs reach of the rates of a matrix product on one core, and of a copy
OPERATION_RATIO = 60  # a framework starts an operation in so many times what numpy takes for a small one


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a machine does in a second, and what starting an operation takes."""

    flops_per_second: float
    bytes_per_second: float
    seconds_per_operation: float


# A core or two of a usual processor, where nothing can be measured.
USUAL = Rates(flops_per_second=2e10, bytes_per_second=5e9, seconds_per_operation=1.2e-5)


def machine_rates() -> Rates:
    """The rates of this machine: kept ones, else measured now and kept; usual ones where numpy is not installed."""
    path = rates_path()
    kept = _read(path)
    if kept is not None:
        return kept
    try:
        rates = measure_rates()
    except ImportError:
        return USUAL
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(asdict(rates)))
        scratch.replace(path)
    return rates


def rates_path() -> Path:
    """The user's own file for the rates of this machine with the cores that this process may use."""
    machine = f"{platform.node()} {platform.machine()} {platform.processor()} {available_cores()}"
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "etude" / f"rates-{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> Rates | None:
    try:
        if time.time() - path.stat().st_mtime > DAYS_KEPT * 24 * 3600:
            return None
        rates = Rates(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return rates if all(isinstance(rate, float) and rate > 0 for rate in asdict(rates).values()) else None


def measure_rates() -> Rates:
    """Measure a matrix product, a copy and a small operation: the best of several, as other work only delays."""
    import numpy as np

    size, count = 64, 8_000_000  # a product that is computed by one thread: several would wait for each other
    matrix, long, short = (np.ones(shape, np.float32) for shape in ((size, size), (count,), (16,)))
    other = np.empty_like(long)

    def many() -> None:
        for _ in range(1000):
            short + short  # only the time counts

    def products() -> None:
        for _ in range(100):
            matrix @ matrix

    product = _best(products, 8) / 100
    copy = _best(lambda: np.copyto(other, long), 4)
    return Rates(
        flops_per_second=2.0 * size**3 / product * SHARE_OF_PEAK,
        bytes_per_second=2.0 * long.nbytes / copy * SHARE_OF_PEAK,
        seconds_per_operation=_best(many, 5) / 1000 * OPERATION_RATIO,
    )


def _best(work: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)
