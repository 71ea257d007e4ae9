"""Every example is a recipe that parses, checks and draws."""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from etude.grammar.parser import parse

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.etude"))


def etude(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "etude", *arguments], capture_output=True, text=True)


def test_there_are_examples() -> None:
    assert {"simclr_v2.etude", "vit.etude"} <= {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_parses(example: Path) -> None:
    assert parse(example.read_text()).statements


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_checks_without_an_error(example: Path) -> None:
    done = etude("check", str(example), "--format", "json")
    errors = [each for each in json.loads(done.stdout)["diagnostics"] if each["severity"] == "error"]
    assert errors == []
    assert done.returncode == 0


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_graph_of_an_example_can_be_put_in_order(example: Path, tmp_path: Path) -> None:
    done = etude("graph", str(example), "-o", str(tmp_path / "graph.json"))
    assert done.returncode == 0, done.stderr
    graph = json.loads((tmp_path / "graph.json").read_text())
    inputs: dict[str, set[str]] = {node["id"]: set() for node in graph["nodes"]}
    for edge in graph["edges"]:
        assert edge["from"] in inputs
        if not edge["feedback"]:  # the rounds of a loop are drawn as one
            inputs[edge["to"]].add(edge["from"])
    assert len(list(TopologicalSorter(inputs).static_order())) == len(inputs) > 1


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_claims_of_an_example_come_out_as_its_comment_says(example: Path, backend: str, tmp_path: Path) -> None:
    comment = [line for line in example.read_text().splitlines()[:4] if line.startswith("#")]
    expected = 3 if any("claim fails" in line for line in comment) else 0
    done = etude("run", str(example), "--backend", backend, "--store", str(tmp_path / "store"), "--json")
    assert done.returncode == expected, done.stdout + done.stderr


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_backends_agree_on_an_example(example: Path, tmp_path: Path) -> None:
    done = etude("parity", str(example), "--store", str(tmp_path / "store"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
