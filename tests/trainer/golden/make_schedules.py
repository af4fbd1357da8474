#!/usr/bin/env python3
"""PyTorch's own learning rates; prints schedules.json, which schedule_test.cc compares. Needs torch 2.11."""
import json

import torch
from torch.optim import lr_scheduler as lr

BASE = 0.8
STEPS = 60


def rates(make, steps=STEPS):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler = make(optimizer)
    result = []
    for _ in range(steps):
        result.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return result


def sequence(*pieces):
    """pieces: (make, steps); the steps of the last are not used."""
    def make(optimizer):
        ends, at = [], 0
        for _, steps in pieces[:-1]:
            at += steps
            ends.append(at)
        return lr.SequentialLR(optimizer, [make_one(optimizer) for make_one, _ in pieces], ends)
    return make


def warmup(steps):
    return lambda o: lr.LinearLR(o, start_factor=1 / steps, total_iters=steps - 1)


def linear(steps, end=0.0):
    return lambda o: lr.LinearLR(o, start_factor=1.0, end_factor=end, total_iters=steps)


def cosine(steps, end=0.0):
    return lambda o: lr.CosineAnnealingLR(o, T_max=steps, eta_min=end * BASE)


CASES = [
    (["--schedule=constant"], rates(lambda o: lr.ConstantLR(o, factor=1.0))),
    (["--schedule=linear", "--min-learning-rate-factor=0.25"], rates(linear(STEPS, 0.25))),
    (["--schedule=linear", "--warmup-steps=7"], rates(sequence((warmup(7), 7), (linear(STEPS - 7), 0)))),
    (["--schedule=cosine", "--min-learning-rate-factor=0.1"], rates(cosine(STEPS, 0.1))),
    (["--schedule=cosine", "--warmup-steps=10"], rates(sequence((warmup(10), 10), (cosine(STEPS - 10), 0)))),
    (["--schedule=polynomial", "--schedule-power=2.5"],
     rates(lambda o: lr.PolynomialLR(o, total_iters=STEPS, power=2.5))),
    (["--schedule=step", "--step-size=13", "--gamma=0.3"], rates(lambda o: lr.StepLR(o, step_size=13, gamma=0.3))),
    (["--schedule=exponential", "--gamma=0.93"], rates(lambda o: lr.ExponentialLR(o, gamma=0.93))),
    (["--schedule=one-cycle"], rates(lambda o: lr.OneCycleLR(o, max_lr=BASE, total_steps=STEPS), STEPS - 1)),
    (["--schedule=one-cycle", "--pct-start=0.41", "--div-factor=10", "--final-div-factor=50"],
     rates(lambda o: lr.OneCycleLR(o, max_lr=BASE, total_steps=STEPS, pct_start=0.41, div_factor=10,
                                   final_div_factor=50), STEPS - 1)),
    (["--schedule=constant:20,linear:15,cosine", "--warmup-steps=5"],
     rates(sequence((warmup(5), 5), (lambda o: lr.ConstantLR(o, factor=1.0), 20), (linear(15), 15),
                    (cosine(STEPS - 40), 0)))),
]
print(json.dumps({"learning_rate": BASE, "total_steps": STEPS,
                  "cases": [{"flags": flags, "rates": values} for flags, values in CASES]}, indent=1))
