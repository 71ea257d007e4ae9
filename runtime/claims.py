"""Verdicts of `expect`: holds, fails, or cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.runtime.expressions import Evaluation, ExpressionError

Json = Any
VERDICTS: Mapping[bool | None, str] = {True: "holds", False: "fails", None: "cannot tell"}


def judge(expression: Json, shown: Sequence[Json], inputs: Sequence[Json]) -> dict[str, Json]:
    """Evaluate a claim and the values that explain it, by their order in `shown`. Raises `ExpressionError`."""
    evaluation = Evaluation(inputs)
    verdict = evaluation.value(expression)
    if not isinstance(verdict, bool | None):
        raise ExpressionError("expect", f"expected something true or false, got {verdict}")
    values = [Evaluation(inputs).value(item) for _, item in shown]
    return {"verdict": VERDICTS[verdict], "values": values, "detail": {"better": evaluation.comparisons}}


def named(judgement: Mapping[str, Json], shown: Sequence[Json]) -> dict[str, Json]:
    """A stored judgement with the texts of this recipe on its values: the store knows nothing of names."""
    values = {text: value for (text, _), value in zip(shown, judgement["values"], strict=True)}
    return {**judgement, "values": values}
