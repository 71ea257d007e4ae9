"""A good hand-written PyTorch loop for the digits convnet and the small ViT: what generated code is held to.

The data is on the device once, batches are taken by index, the optimizer is fused, and no loss is read inside the
loop. `python benchmarks/handwritten_torch.py` prints milliseconds a step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import digits
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


class Convnet(nn.Module):
    """Two blocks of convolution, ReLU and pooling, then two linear layers. Images come as (batch, 1, 8, 8)."""

    def __init__(self, widths: tuple[int, ...] = (32, 64), out: int = 64) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inputs, width in zip((1, *widths), widths, strict=False):
            blocks += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(widths[-1] * (8 // 2 ** len(widths)) ** 2, out))
        self.head = nn.Linear(out, 10)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.features(image)))
        return logits


class Block(nn.Module):
    """A pre-norm transformer block over (batch, tokens, dim)."""

    def __init__(self, dim: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, dim))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y


class ViT(nn.Module):
    """Patches of 2x2, learned positions, `depth` blocks, mean over tokens, a linear head."""

    def __init__(self, depth: int = 4, dim: int = 64, heads: int = 4, patch: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, dim, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn((8 // patch) ** 2, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.norm(self.blocks(tokens + self.position)).mean(1))
        return logits


MODELS: dict[str, Callable[[], nn.Module]] = {"convnet": Convnet, "vit": ViT}


def loop(name: str) -> Callable[[NDArray], Tensor]:
    """A function that trains on batches of indices (steps, batch) and returns the loss of every step."""
    torch.manual_seed(0)
    images, labels = digits.load()
    x, y = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).long()
    model = MODELS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def run(indices: NDArray) -> Tensor:
        order = torch.from_numpy(indices)
        losses = []
        for index in order:
            loss = F.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    return run


def main() -> None:
    torch.set_num_threads(1)
    for name in MODELS:
        for batch, steps in ((64, 100), (256, 40)):
            run, indices = loop(name), digits.batches(1797, batch, steps)
            run(indices[:5])
            times = []
            for _ in range(5):
                start = time.perf_counter()
                losses = run(indices)
                times.append((time.perf_counter() - start) / steps * 1e3)
            print(f"torch {name:8} batch {batch:3}: {statistics.median(times):7.3f} ms a step, loss {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
