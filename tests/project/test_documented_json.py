"""The JSON that docs/commands.md shows is what the commands print: every documented field is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
RECIPE = """
digits = load("sklearn:digits") |> split(train = 80%, test = 20%)
param size: int = 8
tuned  = finetune(flatten >> mlp([size, 10]), on = digits.train, budget = 3steps)
score  = accuracy(tuned, on = digits.test)
expect score > 0% because "it counts"
"""


def documented(command: str) -> Any:
    """Return the object that the page shows after the command's name."""
    found = re.search(rf"^`{re.escape(command)}.*?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no JSON is shown for {command}"
    return json.loads(found[1])


def missing(shown: Any, printed: Any, path: str = "") -> list[str]:
    """Return the paths of fields that the page shows and the command does not print; lists by their first element."""
    if isinstance(shown, dict) and isinstance(printed, dict):
        absent = [f"{path}.{name}" for name in shown if name not in printed]
        return absent + [
            each for name in shown if name in printed for each in missing(shown[name], printed[name], f"{path}.{name}")
        ]
    if isinstance(shown, list) and shown and isinstance(printed, list):
        if not printed:
            return [f"{path} is empty"]
        fits = [missing(shown[0], item, f"{path}[]") for item in printed]
        return min(fits, key=len)
    is_known = printed is not None  # null stands for what is not known yet
    is_alike = type(shown) is type(printed) or {type(shown), type(printed)} <= {int, float}
    return [f"{path} has another type"] if is_known and not is_alike else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    (folder / "recipe.etude").write_text(RECIPE)
    (folder / "wrong.etude").write_text('digits = load("sklearn:digits") |> split(train = 80%, stratify = "lable")\n')
    return folder


def printed(folder: Path, *arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "etude", *arguments], capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout)


def test_diagnostics_are_as_documented(folder: Path) -> None:
    shown = documented("check FILE")
    result = printed(folder, "check", "wrong.etude", "--format", "json")
    del shown["diagnostics"][0]["related"]  # this mistake has no second place
    assert missing(shown, result) == []


def test_a_graph_is_as_documented(folder: Path) -> None:
    shown = documented("graph FILE")
    shown["nodes"][0]["group"] = []  # nothing here stands in a function
    assert missing(shown, printed(folder, "graph", "recipe.etude", "--format", "json")) == []


def test_a_plan_is_as_documented(folder: Path) -> None:
    assert missing(documented("plan FILE"), printed(folder, "plan", "recipe.etude", "--json")) == []


def test_a_run_is_as_documented_and_can_be_shown_again(folder: Path) -> None:
    shown = documented("run FILE")
    del shown["params"]["labels"]
    result = printed(folder, "run", "recipe.etude", "--backend", "torch", "--json")
    assert missing(shown, result) == []
    assert missing(shown, printed(folder, "show", result["run"], "--json")) == []
    stage = printed(folder, "show", result["run"], "--stage", "tuned", "--json")
    assert missing(documented("show RUN --stage NAME"), stage) == []


def test_a_store_is_as_documented(folder: Path) -> None:
    printed(folder, "run", "recipe.etude", "--backend", "torch", "--json")
    assert missing(documented("store --json"), printed(folder, "store", "--json")) == []
    garbage = printed(folder, "store", "gc", "--dry-run", "--json")
    assert {"removed", "bytes", "runs_removed", "runs_kept", "dry_run"} <= garbage.keys()


def test_parity_is_as_documented(folder: Path) -> None:
    assert missing(documented("parity FILE"), printed(folder, "parity", "recipe.etude", "--steps", "2", "--json")) == []


def test_doc_is_as_documented(folder: Path) -> None:
    assert missing(documented("doc NAME"), printed(folder, "doc", "simclr", "--json")) == []
    assert missing(documented("doc --json"), printed(folder, "doc", "--json")) == []


def test_a_missing_field_is_seen() -> None:
    assert missing({"a": 1, "b": [{"c": 1}]}, {"b": [{"d": 1}]}) == [".a", ".b[].c"]
