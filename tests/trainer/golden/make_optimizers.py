#!/usr/bin/env python3
"""Parameters after 100 steps of PyTorch's optimizers, and of Lion and LAMB as their papers write them; prints
optimizers.json, which update_rule_test.cc compares. Needs torch 2.11."""
import json

import torch

SHAPES = [[40, 33], [7], [2, 3, 4, 5], [1], [3, 700], [1100]]
STEPS = 100
STRIDE = 7


def initial():
    values, at = [], 0
    for shape in SHAPES:
        numel = torch.Size(shape).numel()
        index = torch.arange(at, at + numel)
        values.append(((index * 6271 % 1999 - 999).float() / 1024).view(shape))
        at += numel
    return values


def gradients(step):
    """Exact in float32; smaller by 2^-3 from each parameter to the next."""
    values, at = [], 0
    for number, shape in enumerate(SHAPES):
        numel = torch.Size(shape).numel()
        index = torch.arange(at, at + numel)
        wild = (index * 7919 + step * 104729 + index * step * 31) % 2001 - 1000
        values.append((wild.float() / 1024 * 2.0 ** (-3 * number)).view(shape))
        at += numel
    return values


class Lion:
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, parameters, lr, betas, weight_decay):
        self.parameters, self.lr, self.betas, self.weight_decay = parameters, lr, betas, weight_decay
        self.momenta = [torch.zeros_like(p) for p in parameters]

    def step(self):
        b1, b2 = self.betas
        with torch.no_grad():
            for p, m in zip(self.parameters, self.momenta):
                update = torch.sign(b1 * m + (1 - b1) * p.grad)
                p.copy_(p * (1 - self.lr * self.weight_decay) - self.lr * update)
                m.copy_(b2 * m + (1 - b2) * p.grad)


class Lamb:
    """You et al. 2020, algorithm 2, with phi(z) = z."""

    def __init__(self, parameters, lr, betas, eps, weight_decay):
        self.parameters, self.lr, self.betas, self.eps = parameters, lr, betas, eps
        self.weight_decay, self.t = weight_decay, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self):
        self.t += 1
        b1, b2 = self.betas
        with torch.no_grad():
            for p, m, v in zip(self.parameters, self.m, self.v):
                m.copy_(b1 * m + (1 - b1) * p.grad)
                v.copy_(b2 * v + (1 - b2) * p.grad * p.grad)
                direction = (m / (1 - b1**self.t)) / ((v / (1 - b2**self.t)).sqrt() + self.eps)
                direction = direction + self.weight_decay * p
                ratio = p.double().norm() / direction.double().norm()
                p.copy_(p - self.lr * ratio.item() * direction)


def run(make):
    parameters = [p.requires_grad_() for p in initial()]
    optimizer = make(parameters)
    for step in range(1, STEPS + 1):
        for p, g in zip(parameters, gradients(step)):
            p.grad = g
        optimizer.step()
    flat = torch.cat([p.detach().flatten() for p in parameters])
    return [float(f"{x:.9g}") for x in flat[::STRIDE].tolist()]


O = torch.optim
CASES = [
    ({"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.1},
     lambda p: O.SGD(p, lr=0.01, weight_decay=0.1)),
    ({"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1},
     lambda p: O.SGD(p, lr=0.01, momentum=0.9, dampening=0.25, weight_decay=0.1)),
    ({"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": True},
     lambda p: O.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
    ({"optimizer": "adam", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1},
     lambda p: O.Adam(p, lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)),
    ({"optimizer": "adamw", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1},
     lambda p: O.AdamW(p, lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)),
    ({"optimizer": "lion", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1},
     lambda p: Lion(p, 0.01, (0.9, 0.99), 0.1)),
    ({"optimizer": "lamb", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1},
     lambda p: Lamb(p, 0.01, (0.9, 0.95), 1e-6, 0.1)),
    ({"optimizer": "adafactor", "learning_rate": 0.01, "weight_decay": 0.1},
     lambda p: O.Adafactor(p, lr=0.01, weight_decay=0.1)),
]


def main():
    print("{")
    print(f'"shapes": {json.dumps(SHAPES)}, "steps": {STEPS}, "stride": {STRIDE},')
    print('"cases": [')
    print(",\n".join(json.dumps({"options": options, "values": run(make)}) for options, make in CASES))
    print("]}")


if __name__ == "__main__":
    main()
