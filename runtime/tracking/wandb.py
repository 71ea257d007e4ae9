"""Weights & Biases: one of its runs for each run, in a project named after the recipe.

Numbers are called `STAGE/NAME` and drawn over `STAGE/step`. `mode` "offline" keeps everything in the run's folder until
`wandb sync`; keys and servers are what the library itself reads from its environment variables.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from typing import Any

from etude.runtime.tracking import Subject, outcome_numbers

Json = Any
NEEDS = "wandb"
SETTINGS = {
    "project": "the project (default: the recipe's name)",
    "entity": "the user or team that it belongs to",
    "mode": "online, offline, or shared",
}


def open_tracker(subject: Subject, settings: Mapping[str, str]) -> WeightsAndBiases:
    """Begin a run of Weights & Biases with the params and the recipe."""
    import wandb

    run = wandb.init(
        **{"project": subject.recipe, **settings},
        name=subject.id,
        dir=str(subject.folder),
        config={**subject.facts, **subject.params, "recipe": subject.text},
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        reinit="create_new",
    )
    return WeightsAndBiases(run)


class WeightsAndBiases:
    """Tells the run that the library has opened; it sends from a process of its own."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self._known: set[str] = set()

    def numbers(self, stage: str, step: int, values: Mapping[str, float], time: float) -> None:
        if stage not in self._known:
            self._known.add(stage)
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self.run.log({**{f"{stage}/{name}": value for name, value in values.items()}, f"{stage}/step": step})

    def picture(self, stage: str, name: str, png: bytes, time: float) -> None:
        if importlib.util.find_spec("PIL") is None:  # its pictures are Pillow's
            return
        import wandb
        from PIL import Image

        self.run.log({f"{stage}/{name}": wandb.Image(Image.open(io.BytesIO(png)))})

    def close(self, outcome: Mapping[str, Json] | None) -> None:
        self.run.summary.update(outcome_numbers(outcome or {}))
        self.run.finish(exit_code=0 if outcome and not outcome.get("failed") else 1)
