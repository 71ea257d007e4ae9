"""Models of the library on one batch, against the same written with PyTorch's own layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from etude.runtime.compiling import compile_text
from etude.runtime.runner import run
from etude.runtime.store import Store

torch = pytest.importorskip("torch")
F = torch.nn.functional
Array = Any
ROWS, LENGTH, WIDTH = 6, 5, 8
generator = np.random.default_rng(0)
lengths = np.array([5, 3, 1, 5, 2, 4])
bonds = np.triu(generator.integers(0, 2, (ROWS, LENGTH, LENGTH)), 1)
DATA = {
    "x": generator.normal(size=(ROWS, LENGTH, WIDTH)).astype(np.float32),
    "im": generator.normal(size=(ROWS, 8, 8, WIDTH)).astype(np.float32),
    "v": generator.normal(size=(ROWS, WIDTH)).astype(np.float32),
    "z": generator.normal(size=(ROWS, 3)).astype(np.float32),
    "other": generator.normal(size=(ROWS, 4, WIDTH)).astype(np.float32),
    "ids": generator.integers(0, 11, (ROWS, LENGTH)).astype(np.int32),
    "mask": np.arange(LENGTH) < lengths[:, None],
    "bonds": (bonds + bonds.transpose(0, 2, 1)).astype(np.float32),
}
x, im, v, z, other, ids, mask, joined = (torch.tensor(values) for values in DATA.values())
Weights = Mapping[str, Any]


def dense(w: Weights, path: str, values: Array) -> Array:
    return values @ w[f"{path}.w"] + w.get(f"{path}.b", 0)


def conv(w: Weights, path: str, values: Array, **settings: Any) -> Array:
    kernel = w[f"{path}.w"].permute(3, 2, 0, 1)
    return F.conv2d(values.permute(0, 3, 1, 2), kernel, w.get(f"{path}.b"), **settings).permute(0, 2, 3, 1)


def attended(q: Array, k: Array, values: Array, seen: Array = None, causal: bool = False) -> Array:
    """Two heads."""
    q, k, values = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (q, k, values))
    seen = None if seen is None else seen[:, None, None]
    return F.scaled_dot_product_attention(q, k, values, seen, is_causal=causal).transpose(1, 2).flatten(2)


def itself(w: Weights, values: Array, seen: Array = None, causal: bool = False, at: str = "") -> Array:
    q, k, given = dense(w, f"{at}linear", values).chunk(3, -1)
    return dense(w, f"{at}linear_2", attended(q, k, given, seen, causal))


def layer(w: Weights, values: Array, seen: Array = None, at: str = "") -> Array:
    a = values + itself(w, F.layer_norm(values, (WIDTH,)), seen, at=f"{at}attend.")
    hidden = F.gelu(dense(w, f"{at}network.layers.0", F.layer_norm(a, (WIDTH,))))
    return a + dense(w, f"{at}network.layers.1", hidden)


def recurrent(kind: Any, w: Weights, gates: str, forget: float = 0.0) -> Array:
    """A recurrent network of PyTorch with these weights; where a row has ended, its state stays."""
    network = kind(WIDTH, 7, batch_first=True)
    with torch.no_grad():
        network.weight_ih_l0.copy_(w["inward.w"].T)
        network.weight_hh_l0.copy_(w[f"{gates}.w"].T)
        network.bias_ih_l0.copy_(w["inward.b"])
        network.bias_hh_l0.zero_()[7:14] += forget
        states = network(x)[0]
    last = torch.minimum(torch.arange(LENGTH)[None], torch.tensor(lengths)[:, None] - 1)
    return torch.gather(states, 1, last[..., None].expand(-1, -1, 7))


def gru(w: Weights) -> Array:
    h, states = torch.zeros(ROWS, 7), []
    for t in range(LENGTH):
        step, inner = dense(w, "inward", x[:, t]), h @ w["gates.w"]
        update, reset = torch.sigmoid(step[:, :14] + inner).chunk(2, -1)
        h = update * h + (1 - update) * torch.tanh(step[:, 14:] + (reset * h) @ w["fresh.w"])
        states.append(h)
    return torch.stack(states, 1)


def gcn(w: Weights) -> Array:
    a = joined + torch.eye(LENGTH)
    d = a.sum(-1).rsqrt()
    return dense(w, "linear", (d[:, :, None] * a * d[:, None]) @ x)


def gat(w: Weights) -> Array:
    values = dense(w, "linear", x).unflatten(-1, (2, -1)).transpose(1, 2)
    heard, sent = (values * w["net.taking"]).sum(-1), (values * w["net.giving"]).sum(-1)
    scores = F.leaky_relu(heard[..., None] + sent[..., None, :], 0.2)
    near = (joined + torch.eye(LENGTH) > 0)[:, None]
    return (scores.masked_fill(~near, -torch.inf).softmax(-1) @ values).transpose(1, 2).flatten(2)


def experts(w: Weights) -> Array:
    scores = v @ w["linear.w"]
    chosen = torch.zeros_like(scores).scatter(-1, scores.topk(2, -1).indices, 1.0) > 0
    share = scores.masked_fill(~chosen, -torch.inf).softmax(-1)
    made = [dense(w, f"mlp{n}.layers.1", F.gelu(dense(w, f"mlp{n}.layers.0", v))) for n in ("", "_2", "_3")]
    return (share[..., None] * torch.stack(made, -2)).sum(-2)


def made_weights(w: Weights) -> Array:
    made = dense(w, "layers.1", F.relu(dense(w, "layers.0", z)))
    return torch.einsum("bi,bio->bo", v, made[:, :24].unflatten(-1, (WIDTH, 3))) + made[:, 24:]


def residual(w: Weights) -> Array:
    def normal(values: Array) -> Array:
        return F.group_norm(values.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)

    first = F.relu(normal(conv(w, "conv2d", im, padding=1)))
    return F.relu(normal(conv(w, "conv2d_2", first, padding=1)) + im)


def vit(w: Weights) -> Array:
    patches = conv(w, "patch_embedding.conv2d", im, stride=4).flatten(1, 2) + w["patch_embedding.positions"]
    return F.layer_norm(layer(w, patches, at="layers.0."), (WIDTH,)).mean(1)


def places(w: Weights) -> Array:
    angles = np.arange(LENGTH)[:, None] * 10_000 ** (-np.arange(3) / 3)
    return w["embed.table"][ids.long()] + torch.tensor(np.concatenate([np.sin(angles), np.cos(angles)], -1))


def across(w: Weights) -> Array:
    k, given = dense(w, "linear_2", other).chunk(2, -1)
    return dense(w, "linear_3", attended(dense(w, "linear", x), k, given))


def films(w: Weights) -> Array:
    scale, shift = dense(w, "linear", z).chunk(2, -1)
    return x * (1 + scale[:, None]) + shift[:, None]


CASES: dict[str, tuple[str, str, Callable[[Weights], Array]]] = {
    "layer_norm()": ("x", "", lambda w: F.layer_norm(x, (WIDTH,))),
    "rms_norm()": ("x", "", lambda w: F.rms_norm(x, (WIDTH,), eps=1e-6)),
    "group_norm(groups = 4)": ("im", "", lambda w: F.group_norm(im.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)),
    "conv2d(6, stride = 2)": ("im", "", lambda w: conv(w, "net", F.pad(im, (0, 0, 0, 1, 0, 1)), stride=2)),
    'conv2d(6, padding = "valid")': ("im", "", lambda w: conv(w, "net", im)),
    "residual_block(8, norm = () => group_norm(groups = 4))": ("im", "", residual),
    "vit(dim = 8, depth = 1, heads = 2, patch = 4)": ("im", "", vit),
    "self_attention(heads = 2)": ("x, mask", "", lambda w: itself(w, x, mask)),
    "self_attention(heads = 2, causal = true)": ("x", "", lambda w: itself(w, x, causal=True)),
    "cross_attention(heads = 2)": ("x, other", "", across),
    "transformer_layer(heads = 2)": ("x, mask", "", lambda w: layer(w, x, mask)),
    "token_embedding(vocab = 11, dim = 6, sines = true)": ("ids", "", places),
    "rnn(7)": ("x, mask", "", lambda w: recurrent(torch.nn.RNN, w, "cell")),
    "gru(7)": ("x", "", gru),
    "lstm(7)": ("x, mask", "", lambda w: recurrent(torch.nn.LSTM, w, "gates", forget=1.0)),
    "swiglu(12)": ("x", "", lambda w: (F.silu(x @ w["gate.w"]) * (x @ w["value.w"])) @ w["back.w"]),
    "film()": ("x, z", "", films),
    "hyper_linear(3, hidden = 4)": ("v, z", "", made_weights),
    "siren([5], out = 2)": ("v", "", lambda w: dense(w, "linear", torch.sin(30 * dense(w, "layers.0", v)))),
    "mixture_of_experts(experts = 3, hidden = 5)": ("v", ".output", experts),
    "gcn_layer(7)": ("x, bonds", "", gcn),
    "gat_layer(8, heads = 2)": ("x, bonds", "", gat),
    "gin_layer(7)": ("x, bonds", "", lambda w: dense(w, "layers.1", F.relu(dense(w, "layers.0", x + joined @ x)))),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Array, Weights]]:
    """What each model gives for the rows, and its weights by their paths."""
    from safetensors.numpy import load_file

    base = tmp_path_factory.mktemp("models")
    np.savez(base / "d.npz", **DATA)  # type: ignore[arg-type]
    made = {}
    store = Store(base / "store")
    lines = ["use std.graph", 'd = load("d.npz")']
    for i, (code, (inputs, field, _)) in enumerate(CASES.items()):
        lines.append(f"fn made{i}() {{ net = {code}")
        lines.append(
            f"  t = train(on = d, update = {{net: net}}) {{ loss = ({{{inputs}}}) => mean(net({inputs}){field})"
        )
        lines.append("    optimizer = sgd(lr = 0.0) budget = 1steps } return t.net }")
        lines.append(f"m{i} = made{i}() o{i} = collect(d, ({{{inputs}}}) => m{i}({inputs}){field}) s{i} = sum(o{i})")
    workflow = compile_text("\n".join(lines), "models.etude", base).workflow
    assert workflow is not None
    result = run(workflow, store=store, backend="torch", base=base, jobs=1).to_json()
    assert not result["failed"]
    outputs = {stage["name"]: stage["outputs"] for stage in result["stages"]}
    for i, code in enumerate(CASES):
        (hash,) = outputs[f"o{i}"].values()
        weights = load_file(result["models"][f"m{i}"]["path"])
        made[code] = (load_file(store.objects.path(hash))["0"], {k: torch.tensor(w) for k, w in weights.items()})
    return made


@pytest.mark.parametrize("code", CASES)
def test_a_model_gives_what_the_layers_of_pytorch_give(code: str, found: dict[str, tuple[Array, Weights]]) -> None:
    given, weights = found[code]
    wanted = CASES[code][2](weights).detach().numpy()
    assert given.shape == wanted.shape
    assert np.abs(given - wanted).max() < 5e-5
