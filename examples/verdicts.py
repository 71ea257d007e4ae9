"""Run recipes in full on both backends, compare the backends, and write what came out into `examples/verdicts.md`.

    python examples/verdicts.py [RECIPE ...] [--only runs|parity] [--store DIR]

Without names all recipes of `examples/` and `examples/papers/` are run, one after another. The figures stand in
`verdicts.json`, so that some recipes can be run again and the others keep theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIGURES, TABLE = HERE / "verdicts.json", HERE / "verdicts.md"
BACKENDS = ("torch", "jax")
HEAD = """# What the recipes came to

Written by `python examples/verdicts.py`; nobody edits it. Every recipe was run in full on two cores of a CPU; seconds
are those of the whole command. After a verdict come the measured values, in the order in which the claim names them.
Parity is the largest difference of a loss over the first steps of any stage, both backends given the same inputs.
"""

Json = Any


def etude(*arguments: str) -> tuple[Json, int, float]:
    """The JSON that a command prints, its exit code and seconds."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "etude", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"etude {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout), done.returncode, time.perf_counter() - started


def runs(name: str, recipe: Path, store: str) -> Json:
    """What a recipe came to on each backend."""
    found: dict[str, Json] = {}
    for backend in BACKENDS:
        run, code, seconds = etude("run", str(recipe), "--backend", backend, "--store", store)
        claims = [{key: claim[key] for key in ("text", "verdict", "values")} for claim in run["claims"]]
        found[backend] = {"seconds": round(seconds, 1), "exit": code, "stages": run["executed"], "claims": claims}
        print(f"{name} {backend}: {seconds:.0f} s, {', '.join(c['verdict'] for c in claims)}", flush=True)
    return found


def parity(name: str, recipe: Path, store: str) -> Json:
    """How far the backends are apart, given the same inputs at every stage."""
    compared, code, seconds = etude("parity", str(recipe), "--store", store)
    differences = [stage["loss_difference"] or 0.0 for stage in compared["stages"]]
    found = {"agrees": code == 0, "loss_difference": max(differences, default=0.0), "stages": len(differences)}
    print(f"{name} parity: {found}, {seconds:.0f} s", flush=True)
    return found


def table(figures: Json) -> str:
    """The page for people."""
    lines = [HEAD, "| recipe | claim | torch | jax | parity |", "|---|---|---|---|---|"]
    for name, found in sorted(figures.items()):
        if not found.keys() >= set(BACKENDS):
            continue
        seconds = [f"{found[backend]['seconds']:.0f} s" for backend in BACKENDS]
        lines.append(f"| **{name}** | | {seconds[0]} | {seconds[1]} | {parity_text(found.get('parity'))} |")
        for ours, theirs in zip(*(found[backend]["claims"] for backend in BACKENDS), strict=True):
            text = ours["text"].replace("|", "\\|")
            lines.append(f"| | `{text}` | {claim_text(ours)} | {claim_text(theirs)} | |")
    return "\n".join(lines) + "\n"


def parity_text(parity: Json) -> str:
    if parity is None:
        return "not compared"
    return f"{'agrees' if parity['agrees'] else 'differs'}, {parity['loss_difference']:.1e}"


def claim_text(claim: Json) -> str:
    """The verdict and the values that were measured, in the order in which the claim names them."""
    values = " · ".join(short(value) for value in claim["values"].values())
    return f"{claim['verdict']}: {values}" if values else str(claim["verdict"])


def short(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(short(each) for each in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def recipes() -> dict[str, Path]:
    return {path.relative_to(HERE).with_suffix("").as_posix(): path for path in sorted(HERE.rglob("*.etude"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", choices=[[], *recipes()], metavar="RECIPE")
    parser.add_argument("--only", choices=["runs", "parity"], help="do one part, and keep the figures of the other")
    parser.add_argument("--store", help="keep results here (default: a folder that is removed)")
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    known = recipes()
    figures = {name: found for name, found in figures.items() if name in known}
    for name in options.recipes or known:
        found = figures.setdefault(name, {})
        with tempfile.TemporaryDirectory() as folder:
            store = options.store or folder
            if options.only != "parity":
                found |= runs(name, known[name], store)
            if options.only != "runs":
                found["parity"] = parity(name, known[name], store)
        FIGURES.write_text(json.dumps(dict(sorted(figures.items())), indent=1, ensure_ascii=False) + "\n")
        TABLE.write_text(table(figures))


if __name__ == "__main__":
    main()
