"""What changed between two accounts of a stage."""

from __future__ import annotations

from typing import Any

from etude.runtime.accounts import Account
from etude.runtime.differences import differences


def training(**settings: Any) -> Account:
    about: dict[str, Any] = {"seeds": {}, "inputs": [], "backend": ["torch", "float32"], "semantics": {}}
    return Account(name="t", kind="train", settings=settings, **about)


def test_players_and_probes_of_other_names_are_compared_by_their_places() -> None:
    def game(first: str, second: str, probe: str, score: str, rate: float) -> Account:
        players = {f"{first}.optimizer.lr": 0.1, f"{first}.every": 1, f"{second}.optimizer.lr": rate}
        beside = {f"watch.probes.{probe}": ["input", 0], "watch.every": {"epochs": 1}, "valid.score_names": [score]}
        return training(**players, **beside)

    before, after = game("critic", "maker", "look", "hits", 0.2), game("judge", "net", "see", "goals", 0.3)
    assert [str(change) for change in differences(before, after, lambda digest: None)] == [
        "net.optimizer.lr 0.2 -> 0.3"
    ]


def test_another_number_of_players_is_told() -> None:
    before, after = training(**{"critic.every": 1}), training(**{"judge.every": 1, "net.every": 2})
    paths = {change.path for change in differences(before, after, lambda digest: None)}
    assert paths == {"critic.every", "judge.every", "net.every"}
