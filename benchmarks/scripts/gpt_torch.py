"""A small GPT by hand on PyTorch, as well as one would write it: what a whole cold process is held to."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

THREADS, BATCH, STEPS, DIM, HEADS, DEPTH = int(sys.argv[1]), 16, 60, 128, 4, 4


class Block(nn.Module):
    """A causal pre-norm block over (batch, positions, dim)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, DIM))
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y


class Gpt(nn.Module):
    """Token and position embeddings, blocks, and a head."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.table, self.position = nn.Embedding(256, DIM), nn.Parameter(0.02 * torch.randn(length, DIM))
        self.blocks, self.norm = nn.Sequential(*(Block() for _ in range(DEPTH))), nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, 256)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(self.table(ids) + self.position)))
        return logits


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    text = torch.from_numpy(np.load("text.npz")["ids"]).long()
    net = Gpt(text.shape[1] - 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    stream = torch.cat([torch.randperm(len(text)) for _ in range(-(-STEPS * BATCH // len(text)))])
    for step in range(STEPS):
        batch = text[stream[step * BATCH : (step + 1) * BATCH]]
        loss = F.cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    print(f"{STEPS} steps, loss {loss.item():.4f}")


main()
