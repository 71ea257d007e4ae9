"""`etude doc`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def test_a_function_of_the_library_is_told_in_full(cli: Cli) -> None:
    shown = cli("doc", "simclr")
    assert shown.code == 0
    assert shown.out.startswith("std.ssl.simclr   function of std.ssl, opened by `use std.ssl`\n")
    assert "fn simclr(view: fn, head: Model, temperature: float = 0.5)" in shown.out
    assert "defaults    temperature = 0.5\n" in shown.out
    assert "paper       Chen et al., 2020\n" in shown.out
    assert "defined in  compiler/std/ssl.etude:" in shown.out


def test_a_builtin_goes_before_the_module_of_its_name(cli: Cli) -> None:
    assert cli("doc", "train").out.startswith("train   builtin of training")
    assert cli("doc", "std.train").out.startswith("std.train\n")


def test_a_module_lists_its_functions(cli: Cli) -> None:
    shown = cli("doc", "std.ssl")
    assert shown.out.startswith("std.ssl   (use std.ssl)\n")
    assert "  fn byol(" in shown.out


def test_without_a_name_everything_is_listed(cli: Cli) -> None:
    lines = cli("doc").out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "library",
        "builtins",
        "operations",
        "grammar",
    ]
    assert any(line.split()[:2] == ["std.ssl", "simclr"] for line in lines)


def test_an_unknown_name_gets_the_nearest_one(cli: Cli) -> None:
    shown = cli("doc", "simclrr")
    assert shown.code == 2
    assert "there is nothing called simclrr" in shown.err
    assert "did you mean 'std.ssl.simclr'?" in shown.err


def test_json_has_the_fields(cli: Cli) -> None:
    (entry,) = json.loads(cli("doc", "vit", "--json").out)["entries"]
    assert entry["path"] == "std.models.vit"
    assert entry["arguments"][0] == {"name": "dim", "type": "int", "default": "64"}
    assert (entry["inputs"], entry["open"], entry["papers"]) == (["image"], True, ["Dosovitskiy et al., 2021"])
    (group,) = json.loads(cli("doc", "reductions", "--json").out)["groups"]
    assert {"name", "signature", "summary"} == set(group["entries"][0])
