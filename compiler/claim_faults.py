"""The words of messages about claims; see `faults`."""

from __future__ import annotations

from etude.compiler.diagnostics import Diagnostic, Location


def single_seed(location: Location) -> Diagnostic:
    return Diagnostic(
        "W403",
        "this claim rests on a single seed",
        location,
        "one run each",
        help="compare lists of runs: better(runs(1..5, s => ...), ...)",
    )


def same_runs(runs: int, location: Location) -> Diagnostic:
    return Diagnostic(
        "W404",
        f"the {runs} runs of each list are one and the same",
        location,
        "nothing differs between them",
        help="let the seed reach what is random: runs(1..5, s => ...) does, a value made outside of it does not",
    )


def few_runs(runs: int, enough: int, confidence: float, location: Location) -> Diagnostic:
    share = f"{100 * confidence:.4g}%"
    return Diagnostic(
        "W406",
        f"{'1 run' if runs == 1 else f'{runs} runs'} can never show anything with {share} confidence",
        location,
        "this claim will not be told, whatever the numbers are",
        help=f"compare {enough} runs or more, or ask for less confidence",
    )
