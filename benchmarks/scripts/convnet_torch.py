"""The digits convnet by hand on PyTorch, as well as one would write it: what a whole cold process is held to."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

THREADS, BATCH, EPOCHS = int(sys.argv[1]), 64, 20


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = torch.from_numpy((data.images / 16).astype(np.float32)[order])[:, None]
    labels = torch.from_numpy(data.target[order])
    split = round(0.8 * len(labels))
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    steps = -(-EPOCHS * split // BATCH)
    stream = torch.cat([torch.randperm(split) for _ in range(EPOCHS + 1)])
    for step in range(steps):
        index = stream[step * BATCH : (step + 1) * BATCH]
        loss = F.cross_entropy(net(images[index]), labels[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        accuracy = (net(images[split:]).argmax(1) == labels[split:]).double().mean()
    print(f"{steps} steps, loss {loss.item():.4f}, accuracy {accuracy.item():.4f}")


main()
