"""Optimizers that torch.optim does not have, with the numbers of optax's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class OwnOptimizer(Optimizer):
    """An optimizer given by how it moves one weight; what it remembers of each weight are tensors in `state`."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.move(weight, weight.grad, self.state[weight], group)

    def move(self, weight: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Update a weight in place."""
        raise NotImplementedError


class Lion(OwnOptimizer):
    """Lion (Chen et al. 2023): the sign of a momentum."""

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def move(self, weight: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        (b1, b2), momentum = group["betas"], state["momentum"]
        update = torch.sign((1 - b1) * grad + b1 * momentum)
        momentum.mul_(b2).add_(grad, alpha=1 - b2)
        weight.sub_(group["lr"] * (update + group["weight_decay"] * weight))


class Lamb(OwnOptimizer):
    """LAMB (You et al. 2020): Adam with the length of each step in proportion to the weight."""

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def move(self, weight: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=torch.tensor(0.0), first=torch.zeros_like(weight), second=torch.zeros_like(weight))
        (b1, b2), first, second = group["betas"], state["first"], state["second"]
        state["step"] += 1
        step = float(state["step"])
        first.mul_(b1).add_(grad, alpha=1 - b1)
        second.mul_(b2).addcmul_(grad, grad, value=1 - b2)
        update = (first / (1 - b1**step)) / (torch.sqrt(second / (1 - b2**step)) + group["eps"])
        update += group["weight_decay"] * weight
        weight.sub_(group["lr"] * trusted(update, weight, 1.0))


class Lars(OwnOptimizer):
    """LARS (You et al. 2017): momentum with the length of each step in proportion to the weight."""

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    def move(self, weight: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        update = trusted(grad + group["weight_decay"] * weight, weight, group["trust"])
        state["momentum"].mul_(group["momentum"]).add_(update, alpha=group["lr"])
        weight.sub_(state["momentum"])


class Adafactor(OwnOptimizer):
    """Adafactor (Shazeer and Stern 2018): second moments of a matrix by its rows and columns, where both are long."""

    def __init__(self, params: Any, lr: float, decay: float = 0.8, min_size: int = 128) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "min_size": min_size})

    def move(self, weight: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        axes = factored_axes([*weight.shape], group["min_size"])
        if not state:
            sizes = [weight.shape] if axes is None else [_without(weight, axis) for axis in reversed(axes)]
            moments = {f"second_{i}": torch.zeros(size, device=weight.device) for i, size in enumerate(sizes)}
            state.update(step=torch.tensor(0.0), **moments)
        state["step"] += 1
        rate = 1.0 - float(state["step"]) ** -group["decay"]
        square = grad * grad + 1e-30
        if axes is None:
            state["second_0"].mul_(rate).add_(square, alpha=1 - rate)
            update = grad * state["second_0"] ** -0.5
        else:
            short, long = axes
            rows = state["second_0"].mul_(rate).add_(square.mean(dim=long), alpha=1 - rate)
            columns = state["second_1"].mul_(rate).add_(square.mean(dim=short), alpha=1 - rate)
            mean = rows.mean(dim=short - 1 if short > long else short, keepdim=True)
            update = grad * ((rows / mean) ** -0.5).unsqueeze(long) * (columns**-0.5).unsqueeze(short)
        update = update / torch.clamp(root_mean_square(update), min=1.0)
        weight.sub_(group["lr"] * update * torch.clamp(root_mean_square(weight), min=1e-3))


def trusted(update: Tensor, weight: Tensor, trust: float) -> Tensor:
    """An update scaled to a share of the length of its weight; as it is where one of the two is all zeros."""
    length, size = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(update)
    is_zero = (length == 0) | (size == 0)
    return update * torch.where(is_zero, torch.ones_like(length), trust * length / size)


def root_mean_square(values: Tensor) -> Tensor:
    """The root of the mean of the squares of all numbers."""
    return torch.sqrt(torch.mean(values * values))


def factored_axes(shape: list[int], least: int) -> tuple[int, int] | None:
    """The two longest axes, the longest one last; None where they are shorter than `least`."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return None if len(shape) < 2 or shape[order[-2]] < least else (order[-2], order[-1])


def _without(weight: Tensor, axis: int) -> list[int]:
    return [size for i, size in enumerate(weight.shape) if i != axis]
