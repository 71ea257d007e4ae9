"""`--target`: what is refused, what enters keys, and what is planned for named hardware."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.runtime import topologies
from etude.runtime.cli.devices import missing_device
from etude.runtime.stages import Settings
from etude.runtime.store import Store

Cli = Callable[..., Any]

RECIPE = """param width: int = 16
digits = load("sklearn:digits") |> split(train = 80%, test = 20%)
net    = flatten >> linear(width) >> relu >> linear(10, seed = 1)
first  = finetune(net, on = digits.train, budget = 3steps)
second = finetune(first, on = digits.train, budget = 2steps, batch = 32)
"""
TARGETS = """[target.low]
precision = "bf16"
[target.low.stage."second"]
precision = "float32"

[target.drawn]
random = "native"

[target.fast]
backend = "torch"
compile = true
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "etude.toml").write_text(TARGETS)
    path = tmp_path / "deep" / "recipe.etude"
    path.write_text(RECIPE)
    return path


def keys(cli: Cli, recipe: Path, *options: str) -> dict[str, str]:
    """The keys that are known before anything has run."""
    found = cli("plan", recipe, "--json", *options).json
    return {stage["name"]: stage["key"] for stage in found["stages"] if stage["key"]}


def test_precision_and_native_numbers_enter_keys_and_compiling_does_not(cli: Cli, recipe: Path) -> None:
    # the key of a training is known as soon as its data is
    cli("run", recipe, "--only", "digits*")
    plain, low, drawn, fast = (
        keys(cli, recipe, "--backend", "torch", "--target", name) for name in ("cpu", "low", "drawn", "fast")
    )

    assert {"digits", "first"} <= plain.keys()
    assert plain["digits"] == low["digits"] == drawn["digits"]
    assert len({plain["first"], low["first"], drawn["first"]}) == 3
    assert plain["first"] == fast["first"]


def test_a_stage_may_be_run_in_its_own_way(cli: Cli, recipe: Path) -> None:
    done = cli("run", recipe, "--target", "low", "--backend", "torch", "--json").json
    sources = {path.stem: path.read_text() for path in Path(done["report"]).parents[1].glob("source/*.py")}

    assert done["failed"] == 0
    assert "bfloat16" in sources["first"]
    assert "bfloat16" not in sources["second"]


def test_a_wrong_file_is_told_like_a_wrong_recipe(cli: Cli, recipe: Path) -> None:
    (recipe.parent / "etude.toml").write_text('[target.lab]\nprecison = "bf16"\n')
    shown = cli("plan", recipe, "--target", "lab")
    found = cli("plan", recipe, "--target", "lab", "--json")

    assert (shown.code, found.code) == (1, 1)
    assert "error[E421]: nothing reads 'precison'" in shown.err
    assert "did you mean 'precision'?" in shown.err
    (diagnostic,) = found.json["diagnostics"]
    assert (diagnostic["code"], diagnostic["line"]) == ("E421", 2)
    assert diagnostic["file"].endswith("etude.toml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("plan", "--target", "pod"), "there is no target 'pod'"),
        (("plan", "--target", "gpu:h20"), "no GPU is known as 'h20'"),
        (("plan", "--target", "fast", "--backend", "jax"), "the target 'fast' runs on torch, not on jax"),
        (("run", "--target", "tpu:v5e:2x2"), "runs compute on one chip"),
        (("eject", "first", "--target", "low"), "scripts know nothing of 'low' with precision = bf16"),
        (("parity", "--target", "drawn"), "native random numbers of 'drawn' differ between the backends"),
        (("parity", "--target", "tpu"), "both backends are compared, and the target 'tpu' is of jax"),
        (("run", "--target", "fast", "--strict"), "--strict wants numbers exact to the bit"),
    ],
)
def test_a_target_that_cannot_be_is_refused(cli: Cli, recipe: Path, options: tuple[str, ...], message: str) -> None:
    command, *rest = options
    shown = cli(command, recipe, *rest)

    assert shown.code == 2
    assert message in shown.err


def test_what_does_not_fit_a_gpu_is_told_before_it_is_rented(cli: Cli, recipe: Path) -> None:
    large = ("--set", "width=30000000", "--target")
    small, roomy = (cli("plan", recipe, *large, name) for name in ("gpu:l4", "gpu:h200"))

    assert (small.code, roomy.code) == (5, 0)
    assert "does not fit: needs" in small.out
    assert "NVIDIA L4: 24.7 GB" in small.out
    assert cli("run", recipe, *large, "gpu:l4").code == 5


def test_what_was_compiled_for_tpus_is_told(cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = {"chips": 4, "batch": 64, "bytes": 3_000_000, "flops": 20_000_000, "moved": 30, "shared": True,
            "collectives": {"all-reduce": 2}, "fits": True}  # fmt: skip
    large = {"chips": 4, "batch": 64, "shared": True, "bytes": 64 << 30, "limit": 16 << 30, "fits": False}
    answers = iter([fine, large])

    def compiling(jobs: list[tuple[str, Any]], folder: Path | None) -> list[tuple[str, Any]]:
        return [(digest, json.loads(json.dumps(next(answers)))) for digest, _ in jobs]

    (recipe.parent / "libtpu" / "libtpu").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(recipe.parent))
    monkeypatch.setenv(topologies.VARIABLE, str(recipe.parent / "libtpu"))
    monkeypatch.setattr(topologies, "_compiled", compiling)
    shown = cli("plan", recipe, "--target", "tpu:v5e:2x2")
    found = cli("plan", recipe, "--target", "tpu:v5e:2x2", "--json")

    assert (shown.code, found.code) == (5, 5)
    assert "first: 0.003 of 17.2 GB a chip, 20 MFLOP a chip and step, 16 of 64 rows a chip, 2 all-reduce" in shown.out
    assert "second: does not fit: a chip needs 68.7 GB, there are 17.2 GB" in shown.out
    compiled = {stage["name"]: stage.get("compiled") for stage in found.json["stages"]}
    assert compiled["first"]["bytes_per_chip"] == 3_000_000
    assert compiled["first"]["collectives"] == {"all-reduce": 2}
    assert compiled["second"]["fits"] is False
    assert compiled["digits"] is None


def test_without_libtpu_a_plan_for_tpus_says_what_is_missing(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if topologies.importlib.util.find_spec("libtpu") is not None:
        pytest.skip("libtpu is among the packages of this Python")
    monkeypatch.setenv(topologies.VARIABLE, str(recipe.parent))
    shown = cli("plan", recipe, "--target", "tpu:v5e:2x2")

    assert shown.code == 2
    assert "compiling for TPUs needs libtpu, which is not installed" in shown.err
    assert 'pip install "etude-lang[tpu]"' in shown.err


def test_a_missing_device_is_told_once_and_before_anything_runs(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def missing(settings: Any, backend: str) -> str:
        asked.append((backend, settings.device))
        return "no card answers"

    monkeypatch.setattr("etude.runtime.cli.devices.missing_device", missing)
    for command in (("run", "--backend", "torch"), ("parity",), ("verify-resume", "--backend", "torch")):
        done = cli(command[0], recipe, *command[1:], "--target", "gpu")
        assert (done.code, done.out) == (2, "")
        assert done.err.splitlines()[0] == "error: torch finds no device 'cuda' here: no card answers"
        assert "`etude doctor`" in done.err
    assert asked == [("torch", "cuda")] * 3
    assert not list(recipe.parent.glob("**/.etude/runs/*")) and not list(Path(".etude/runs").glob("*"))


def test_stages_that_need_no_backend_need_no_device(cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etude.runtime.cli.devices.missing_device", lambda *_: "no card answers")
    done = cli("run", recipe, "--target", "gpu", "--backend", "torch", "--only", "digits*")
    assert done.code == 0, done.err


def test_a_backend_is_asked_for_its_devices_itself() -> None:
    found = missing_device(Settings(backend="torch", device="tpu"), "torch")
    assert found == "it computes on cpu and cuda"
    assert missing_device(Settings(backend="torch", device="cpu"), "torch") is None


def test_a_target_of_one_backend_is_checked_on_that_one(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str, bool]] = []

    def verified(*_: Any, settings: Any, **__: Any) -> list[Any]:
        asked.append((settings.backend, settings.precision, settings.of("s4").precision, settings.compile))
        return []

    monkeypatch.setattr("etude.runtime.resuming.verify_resumption", verified)
    assert cli("verify-resume", recipe, "--target", "fast").code == 0
    assert cli("verify-resume", recipe, "--target", "low", "--backend", "jax").code == 0
    assert asked == [("torch", "float32", "float32", True), ("jax", "bf16", "float32", False)]
    done = cli("verify-resume", recipe, "--target", "fast", "--backend", "jax")
    assert (done.code, done.err.splitlines()[0]) == (2, "error: the target 'fast' runs on torch, not on jax")


MESHES = """[target.four]
backend = "jax"
mesh = {data = 2, model = 2}

[target.lab]
device = "gpu"
chip = "h200"
backend = "jax"
mesh = {data = 8}

[target.part]
backend = "jax"
[target.part.stage."second"]
mesh = {model = 2}

[target.pod]
device = "tpu"
topology = "v5e:2x2"
mesh = {data = 2, model = 2}
"""


@pytest.fixture
def meshes(recipe: Path) -> Path:
    (recipe.parent / "etude.toml").write_text(MESHES)
    return recipe


def test_a_run_on_a_mesh_has_the_keys_and_losses_of_one_on_a_device(cli: Cli, meshes: Path) -> None:
    alone = cli("run", meshes, "--backend", "jax", "--only", "first", "--json").json
    keyed = keys(cli, meshes, "--target", "four")
    shared = cli("run", meshes, "--target", "four", "--store", "other", "--json").json

    first, again = ({stage["name"]: stage for stage in run["stages"]}["first"] for run in (alone, shared))
    assert shared["failed"] == 0
    assert first["key"] == again["key"] == keyed["first"]
    assert again["made"]["backend"]["mesh"] == {"data": 2, "model": 2}
    stores = [(Store(Path(name)), stage) for name, stage in ((".etude", first), ("other", again))]
    losses = [[row["loss"] for row in kept.read_json(stage["outputs"]["history"])] for kept, stage in stores]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_mesh_that_is_larger_than_the_machine_is_refused_before_anything_runs(
    cli: Cli, meshes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    refused = cli("run", meshes, "--target", "lab")

    assert refused.code == 1
    assert "error[E425]: the mesh of the target 'lab' takes 8 devices, and this machine has 2 GPUs" in refused.err
    assert not Path(".etude").exists()
    assert cli("plan", meshes, "--target", "lab").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("run", "--target", "four", "--strict"), "--strict wants numbers exact to the bit, and 'four' has a mesh"),
        (("run", "--target", "part", "--strict"), "--strict wants numbers exact to the bit, and 'part' has a mesh"),
        (("run", "--target", "four", "--backend", "torch"), "the target 'four' runs on jax, not on torch"),
        (("parity", "--target", "four"), "both backends are compared, and the target 'four' is of jax"),
        (("eject", "first", "--target", "four"), "scripts know nothing of 'four' with mesh = {data = 2, model = 2}"),
    ],
)
def test_what_cannot_be_on_a_mesh_is_refused(cli: Cli, meshes: Path, options: tuple[str, ...], message: str) -> None:
    command, *rest = options
    shown = cli(command, meshes, *rest)

    assert shown.code == 2
    assert message in shown.err


def test_a_plan_says_where_a_mesh_comes_from_and_what_a_gpu_of_it_holds(cli: Cli, meshes: Path) -> None:
    full = cli("plan", meshes, "--target", "part", "--full")
    large = ("--set", "width=1000000", "--json", "--target")
    one, several = (cli("plan", meshes, *large, name).json for name in ("gpu:h200", "lab"))

    assert re.search(r"second: mesh +\{model = 2\} +etude\.toml, target part, stage second", full.out)
    held = [plan["stages"][-1]["memory"]["device_bytes"] for plan in (one, several)]
    assert 0 < held[1] < held[0]
    assert "what each of 8 devices has" in cli("plan", meshes, "--target", "lab").out
