"""What the terminal says of a run in which stages failed: what failed alike is said once."""

from __future__ import annotations

from typing import Any

from etude.compiler.render.ansi import PLAIN
from etude.runtime.cli.outcome import manifest_lines

RUN = {
    "metrics": {}, "claims": [], "executed": 1, "cached": 0, "backend": "torch", "target": "cpu", "seconds": 1.0,
    "run": "r",
}  # fmt: skip


def failed(name: str, message: str) -> dict[str, Any]:
    return {"name": name, "action": "failed", "failure": {"message": message, "details": f"{name}/error.txt"}}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "action": "skipped", "failure": {"message": "for want"}}


def lines(*stages: dict[str, Any]) -> list[str]:
    return list(manifest_lines({**RUN, "stages": stages}, PLAIN))


def test_members_of_a_sweep_that_fail_alike_are_told_together() -> None:
    members = [failed(f"trials[seed={seed}].fit", "there are no rows") for seed in range(1, 7)]
    found = lines(*members, failed("trials[seed=7].fit", "no memory"), failed("other", "there are no rows"))
    assert found[:-1] == [
        "error: stage trials[seed=1].fit failed: there are no rows",
        "  details: trials[seed=1].fit/error.txt",
        "  so did trials[seed=2].fit, trials[seed=3].fit, trials[seed=4].fit and 2 more",
        "error: stage trials[seed=7].fit failed: no memory",
        "  details: trials[seed=7].fit/error.txt",
        "error: stage other failed: there are no rows",
        "  details: other/error.txt",
    ]
    assert found[-1].startswith("1 stage run, 0 cached")


def test_what_was_not_run_is_folded() -> None:
    sweep = [skipped(f"trials[seed={seed}].tuned") for seed in range(1, 6)]
    alone = [skipped(f"s{number}") for number in range(14)]
    assert lines(*sweep, skipped("expect"))[0] == "not run, for want of what failed: trials.tuned \u00d75, expect"
    assert lines(*alone)[0].endswith("s10, s11 and 2 more")
