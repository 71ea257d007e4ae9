"""The same optimizer in the words of torch.optim and of optax, so that both make the same steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# What both libraries do when a setting is left out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "adamw": {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01},
    "adam": {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0},
    "sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "rmsprop": {"decay": 0.9, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
    "lion": {"betas": [0.9, 0.99], "weight_decay": 0.0},
    "lamb": {"betas": [0.9, 0.999], "eps": 1e-6, "weight_decay": 0.0},
    "lars": {"momentum": 0.9, "weight_decay": 0.0, "trust": 0.001},
    "adafactor": {"decay": 0.8, "min_size": 128},
}
TORCH = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}
# Those that torch.optim does not have, or has with other numbers: `etude.backends.torch.optimizers` does.
OWN = {"lion": "Lion", "lamb": "Lamb", "lars": "Lars", "adafactor": "Adafactor"}


def settings(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of an optimizer of a spec but its learning rate. Raises `ValueError` for what nothing reads."""
    name = optimizer["name"]
    if name not in DEFAULTS:
        raise ValueError(f"no optimizer is called {name!r}; there are {', '.join(DEFAULTS)}")
    given = {key: value for key, value in optimizer.items() if key not in {"name", "lr", "groups"}}
    unknown = given.keys() - DEFAULTS[name].keys()
    if unknown:
        raise ValueError(f"the optimizer {name!r} does not read {', '.join(sorted(unknown))}")
    return DEFAULTS[name] | given


def has_groups(spec: Mapping[str, Any]) -> bool:
    """Whether an optimizer of a train stage has groups of weights with settings of their own."""
    return any(step["optimizer"].get("groups") for step in spec["steps"])


def group_optimizers(optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each group as an optimizer: the settings of all with the group's own; its `slots` aside."""
    whole = {key: value for key, value in optimizer.items() if key != "groups"}
    return [whole | {key: value for key, value in group.items() if key != "slots"} for group in optimizer["groups"]]


def torch_optimizer(optimizer: Mapping[str, Any], weights: str) -> str:
    """The expression that makes the optimizer of `weights` with torch.optim.

    >>> torch_optimizer({"name": "adamw", "lr": 0.001}, "net.parameters()")
    'torch.optim.AdamW(net.parameters(), lr=0.001, weight_decay=0.01, fused=True)'
    """
    name, given = optimizer["name"], settings(optimizer)
    arguments = [weights, f"lr={optimizer['lr']!r}"]
    if name in OWN:
        changed = {key: value for key, value in given.items() if value != DEFAULTS[name][key]}
        arguments += [f"{key}={tuple(value) if key == 'betas' else value!r}" for key, value in changed.items()]
        return f"{OWN[name]}({', '.join(arguments)})"
    if given.get("betas", [0.9, 0.999]) != [0.9, 0.999]:
        arguments.append(f"betas=({given['betas'][0]!r}, {given['betas'][1]!r})")
    if "decay" in given:
        arguments.append(f"alpha={given['decay']!r}")
    if given.get("eps", 1e-8) != 1e-8:
        arguments.append(f"eps={given['eps']!r}")
    if given.get("momentum"):
        arguments.append(f"momentum={given['momentum']!r}")
        arguments += ["nesterov=True"] if given.get("nesterov") else []
    if given["weight_decay"] or name == "adamw":
        arguments.append(f"weight_decay={given['weight_decay']!r}")
    if name != "rmsprop":
        arguments.append("fused=True")
    return f"torch.optim.{TORCH[name]}({', '.join(arguments)})"


def torch_groups(optimizer: Mapping[str, Any], weights: Sequence[str]) -> str:
    """The groups of weights as the first argument of an optimizer; `weights[0]` are those of no group, or nothing.

    `scale` is the group's learning rate in units of the one that a step is given.
    """
    groups = [f'{{"params": {weights[0]}, "scale": 1.0}}'] if weights[0] else []
    for group, text in zip(optimizer["groups"], weights[1:], strict=True):
        scale = group.get("lr", optimizer["lr"]) / optimizer["lr"]
        items = [f'"params": {text}', f'"scale": {scale!r}']
        items += [f'"{key}": {value!r}' for key, value in group.items() if key not in {"slots", "lr"}]
        groups.append(f"{{{', '.join(items)}}}")
    return f"[{', '.join(groups)}]"


def optax_groups(optimizer: Mapping[str, Any], table: str) -> str:
    """The expression that makes an optimizer with groups; `table` names the group of each path that is in one."""
    parts = {"rest": optax_optimizer(optimizer)}
    for number, group in enumerate(group_optimizers(optimizer)):
        scale = group["lr"] / optimizer["lr"]
        text = optax_optimizer(group)
        parts[f"group_{number}"] = text if scale == 1.0 else re.sub(r"\blr\b", f"{scale!r} * lr", text)
    made = ", ".join(f'"{name}": {text}' for name, text in parts.items())
    return f'optax.partition({{{made}}}, lambda params: {{path: {table}.get(path, "rest") for path in params}})'


def optax_optimizer(optimizer: Mapping[str, Any]) -> str:
    """The expression that makes the optimizer with optax; the learning rate is the variable `lr`.

    >>> optax_optimizer({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4})
    'optax.chain(optax.add_decayed_weights(0.0001), optax.sgd(lr, momentum=0.9))'
    """
    name, given = optimizer["name"], settings(optimizer)
    match name:
        case "adamw":
            decay = f"weight_decay={given['weight_decay']!r}"
            return f"optax.adamw({', '.join(['lr', *_moments(given), decay])})"
        case "adam":
            parts = [f"optax.adam({', '.join(['lr', *_moments(given)])})"]
        case "sgd":
            momentum = [f"momentum={given['momentum']!r}"] if given["momentum"] else []
            momentum += ["nesterov=True"] if momentum and given["nesterov"] else []
            parts = [f"optax.sgd({', '.join(['lr', *momentum])})"]
        case "lion" | "lamb" | "lars" | "adafactor":
            return f"optax.{name}({', '.join(['lr', *_named(given)])})"
        case _:
            # optax.rmsprop puts eps under the root and momentum behind the learning rate, unlike torch
            parts = [f"optax.scale_by_rms(decay={given['decay']!r}, eps={given['eps']!r}, eps_in_sqrt=False)"]
            parts += [f"optax.trace(decay={given['momentum']!r})"] if given["momentum"] else []
            parts.append("optax.scale_by_learning_rate(lr)")
    if given["weight_decay"]:
        parts.insert(0, f"optax.add_decayed_weights({given['weight_decay']!r})")
    return parts[0] if len(parts) == 1 else f"optax.chain({', '.join(parts)})"


def _moments(given: Mapping[str, Any]) -> list[str]:
    (b1, b2), eps = given["betas"], given["eps"]
    return [
        text
        for text, value, default in ((f"b1={b1!r}", b1, 0.9), (f"b2={b2!r}", b2, 0.999), (f"eps={eps!r}", eps, 1e-8))
        if value != default
    ]


def _named(given: Mapping[str, Any]) -> list[str]:
    """The settings of an optimizer in the words of optax, all of them: its defaults are others."""
    words = {"trust": "trust_coefficient", "decay": "decay_rate", "min_size": "min_dim_size_to_factor"}
    betas = dict(zip(("b1", "b2"), given.get("betas", ()), strict=False))
    plain = {words.get(key, key): value for key, value in given.items() if key != "betas"}
    return [f"{key}={value!r}" for key, value in {**betas, **plain}.items()]
