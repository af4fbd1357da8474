#!/usr/bin/env python3
"""The losses of 100 steps of a small classifier in single-process PyTorch, float32, by each optimizer (Lion and LAMB as
make_optimizers.py writes them); prints loss_curves.json, which loss_curve_test.cc compares. Needs torch 2.11."""
import json

import torch

from make_optimizers import Lamb, Lion

SAMPLES, FEATURES, CLASSES, STEPS, GLOBAL_BATCH = 320, 12, 7, 100, 64


def data():
    i = torch.arange(SAMPLES).unsqueeze(1)
    j = torch.arange(FEATURES).unsqueeze(0)
    whole = (i * 6271 + j * 7919 + i * j * 313) % 2001 - 1000
    labels = (whole[:, 0] + 2 * whole[:, 1] + 3000) * CLASSES // 6001
    return whole.float() / 1024, labels


def make_net():
    net = torch.nn.Sequential(torch.nn.Linear(FEATURES, 40), torch.nn.Tanh(), torch.nn.LayerNorm(40),
                              torch.nn.Linear(40, 30), torch.nn.GELU(), torch.nn.Linear(30, CLASSES))
    at = 0
    with torch.no_grad():
        for p in net.parameters():  # exact in float32
            index = torch.arange(at, at + p.numel())
            p.copy_(((index * 6271 % 1999 - 999).float() / 4096).view_as(p))
            at += p.numel()
        net[2].weight += 1
    return net


class Both:
    """Two optimizers in one, since weight decay is for matrices alone."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


def run(options, make):
    net = make_net()
    matrices = [p for p in net.parameters() if p.dim() >= 2]
    vectors = [p for p in net.parameters() if p.dim() < 2]
    decay = options.get("weight_decay", 0.0)
    optimizer = Both(make(matrices, decay), make(vectors, 0.0))
    inputs, labels = data()
    losses = []
    for step in range(STEPS):
        ids = (torch.arange(GLOBAL_BATCH) + step * GLOBAL_BATCH) % SAMPLES
        loss = torch.nn.functional.cross_entropy(net(inputs[ids]), labels[ids])
        net.zero_grad()
        loss.backward()
        if "clip_norm" in options:
            torch.nn.utils.clip_grad_norm_(net.parameters(), options["clip_norm"])
        optimizer.step()
        losses.append(float(f"{loss.item():.9g}"))
    return losses


O = torch.optim
CASES = [
    ({"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
     lambda p, d: O.SGD(p, lr=0.1, momentum=0.9, weight_decay=d)),
    ({"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "clip_norm": 0.5},
     lambda p, d: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    ({"optimizer": "adam", "learning_rate": 0.005, "weight_decay": 0.01},
     lambda p, d: O.Adam(p, lr=0.005, weight_decay=d)),
    ({"optimizer": "adamw", "learning_rate": 0.005, "beta2": 0.95, "weight_decay": 0.1, "clip_norm": 0.5},
     lambda p, d: O.AdamW(p, lr=0.005, betas=(0.9, 0.95), weight_decay=d)),
    ({"optimizer": "lion", "learning_rate": 0.001, "beta2": 0.99, "weight_decay": 0.1},
     lambda p, d: Lion(p, 0.001, (0.9, 0.99), d)),
    ({"optimizer": "lamb", "learning_rate": 0.01, "epsilon": 1e-6, "weight_decay": 0.1},
     lambda p, d: Lamb(p, 0.01, (0.9, 0.999), 1e-6, d)),
    ({"optimizer": "adafactor", "learning_rate": 0.02, "weight_decay": 0.1},
     lambda p, d: O.Adafactor(p, lr=0.02, weight_decay=d)),
]


def main():
    torch.set_num_threads(1)
    print(f'{{"samples": {SAMPLES}, "features": {FEATURES}, "classes": {CLASSES}, "global_batch": {GLOBAL_BATCH},')
    print('"cases": [')
    print(",\n".join(json.dumps({"options": options, "losses": run(options, make)}) for options, make in CASES))
    print("]}")


if __name__ == "__main__":
    main()
