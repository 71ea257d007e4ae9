"""Say what is installed, on which devices recipes can run, and how the store is.

Frameworks are looked at in processes of their own, so that one that is broken does no harm.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from etude.runtime.cli import faults
from etude.runtime.cli.options import OptionSet, flag, option
from etude.runtime.cli.terminal import paint_for, print_json

EXAMPLES = (
    ("etude doctor", "Look at this machine."),
    ("etude doctor --json", "The same, as one JSON object."),
)

Json = Any
DISTRIBUTIONS = ("numpy", "networkx", "graphviz", "lark", "rich", "safetensors")
EXTRAS = ("scikit-learn", "pyarrow", "pillow", "matplotlib", "tensorboard", "mlflow", "wandb")
PROBES = {
    "torch": (
        "import json, torch\n"
        "cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]\n"
        "print(json.dumps({'version': torch.__version__, 'devices': ['cpu', *cuda]}))"
    ),
    "jax": (
        "import json, jax, importlib.metadata as m\n"
        "found = {name: m.version(name) for name in ('flax', 'optax')}\n"
        "print(json.dumps({'version': jax.__version__, 'devices': [str(d) for d in jax.devices()], **found}))"
    ),
}
PROBE_SECONDS = 90


class Options(OptionSet):
    store: Path = option("the store to look at", metavar="DIR", default=Path(".etude"), parse=Path)
    json: bool = flag("print one JSON object")


def run(options: Options) -> int:
    findings = examine(options.store)
    if options.json:
        print_json(findings)
    else:
        print(_text(findings))
    usable = any("version" in findings["backends"][name] for name in PROBES)
    return faults.OK if usable else faults.STAGE_FAILED


def examine(store: Path) -> dict[str, Json]:
    """Everything that `doctor` tells."""
    import platform
    import shutil

    from etude import __version__

    backends = _probe_all()
    return {
        "etude": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {name: _version(name) for name in (*DISTRIBUTIONS, *EXTRAS)},
        "dot": shutil.which("dot"),
        "backends": backends,
        "targets": _targets(backends),
        "store": _store(store),
    }


def _version(name: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _probe_all() -> dict[str, Json]:
    """What each framework says of itself, side by side."""
    import subprocess

    pipe = subprocess.PIPE
    started = {
        name: subprocess.Popen([sys.executable, "-P", "-c", code], stdout=pipe, stderr=pipe, text=True)
        for name, code in PROBES.items()
    }
    return {name: _answer(process) for name, process in started.items()}


def _targets(backends: dict[str, Json]) -> dict[str, Json]:
    """Which backends can run on each built-in target, and whether trainings can be compiled for TPUs to plan for."""
    from etude.runtime.topologies import LibtpuMissingError, libtpu_folder

    devices = {name: [str(each).lower() for each in answer.get("devices", ())] for name, answer in backends.items()}
    found = {
        "cpu": [name for name, there in devices.items() if there],
        "gpu": [name for name, there in devices.items() if any(_is_gpu(each) for each in there)],
        "tpu": [name for name, there in devices.items() if any(each.startswith("tpu") for each in there)],
    }
    try:
        libtpu_folder()
    except LibtpuMissingError as error:
        return {**found, "compiles_for_tpu": False, "hint": f"{error}: {error.hint}"}
    return {**found, "compiles_for_tpu": True}


def _is_gpu(device: str) -> bool:
    return not device.startswith(("cpu", "tpu"))


def _answer(process: Any) -> Json:
    import json
    import subprocess

    try:
        out, err = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return {"error": f"no answer in {PROBE_SECONDS} s"}
    if process.returncode:
        return {"error": (err.strip().splitlines() or ["it ended without a word"])[-1]}
    return json.loads(out.splitlines()[-1])


def _store(path: Path) -> Json:
    if not path.is_dir():
        return {"path": str(path), "exists": False}
    files = [file for file in path.rglob("*") if file.is_file()]
    return {
        "path": str(path),
        "exists": True,
        "writable": os.access(path, os.W_OK),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
    }


def _text(findings: dict[str, Json]) -> str:
    paint = paint_for(sys.stdout)
    rows: list[tuple[str, str, bool]] = [
        ("etude", findings["etude"], True),
        ("python", f"{findings['python']} on {findings['platform']}", True),
        ("processors", _processors(findings), True),
    ]
    rows += [(name, *_backend_text(answer)) for name, answer in findings["backends"].items()]
    rows += _target_rows(findings["targets"])
    rows += [(name, version or "not installed", version is not None) for name, version in findings["packages"].items()]
    rows.append(
        ("dot", findings["dot"] or "not installed: graphs are written as html, mmd, json, svg", bool(findings["dot"]))
    )
    store = findings["store"]
    size = f"{store['files']} files, {store['bytes'] / 1e6:.1f} MB" if store["exists"] else "not made yet"
    rows.append(("store", f"{store['path']}: {size}", store.get("writable", True)))
    width = max(len(name) for name, _, _ in rows)
    marks = {True: paint("ok", "green"), False: paint("--", "yellow")}
    return "\n".join(f"{marks[good]}  {paint(f'{name:<{width}}', 'bold')}  {text}" for name, text, good in rows)


def _target_rows(targets: dict[str, Json]) -> list[tuple[str, str, bool]]:
    """Where recipes run, and what can be planned for."""
    rows = [
        (f"target {name}", f"runs on {', '.join(targets[name])}" if targets[name] else "no device here", True)
        for name in ("cpu", "gpu", "tpu")
    ]
    can = targets["compiles_for_tpu"]
    text = "trainings are compiled ahead of time" if can else targets["hint"]
    return [*rows, ("plans for tpu:v5e:2x2", text, can)]


def _processors(findings: dict[str, Json]) -> str:
    threads = findings["threads"]
    return f"{findings['cpus']}" + (f", OMP_NUM_THREADS={threads}" if threads else "")


def _backend_text(answer: Json) -> tuple[str, bool]:
    if "error" in answer:
        return answer["error"], False
    extra = [f"{name} {answer[name]}" for name in ("flax", "optax") if name in answer]
    return ", ".join([answer["version"], *extra, "devices: " + ", ".join(answer["devices"])]), True
