#!/usr/bin/env python3
"""Parameters after 100 steps of PyTorch with what a step does besides the optimizer's rule: clipping by value, groups of
parameters by their names' patterns, and the average of weights. Parameters and gradients are those of
make_optimizers.py. Prints step_options.json, which step_options_test.cc compares. Needs torch 2.11."""
import fnmatch
import json

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from make_optimizers import SHAPES, STEPS, STRIDE, gradients, initial

NAMES = ["embedding", "first_bias", "filter", "scale", "matrix", "second_bias"]


def param_groups(options, named):
    """torch.optim's, one for each parameter: the first pattern that matches counts; weight decay is else for matrices and
    filters alone."""
    groups = []
    for name, p in named:
        lr, weight_decay = options["learning_rate"], options["weight_decay"] if p.dim() >= 2 else 0.0
        for pattern, factor, decay in options.get("groups", []):
            if fnmatch.fnmatchcase(name, pattern):
                lr, weight_decay = lr * factor, weight_decay if decay is None else decay
                break
        groups.append({"params": [p], "lr": lr, "weight_decay": weight_decay})
    return groups


def sample(parameters):
    flat = torch.cat([p.detach().flatten() for p in parameters])
    return [float(f"{x:.9g}") for x in flat[::STRIDE].tolist()]


def run(options, make):
    net = torch.nn.Module()
    for name, values in zip(NAMES, initial()):
        net.register_parameter(name, torch.nn.Parameter(values))
    optimizer = make(param_groups(options, net.named_parameters()))
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(options["ema"])) if "ema" in options else None
    for step in range(1, STEPS + 1):
        for p, g in zip(net.parameters(), gradients(step)):
            p.grad = g
        if "clip_value" in options:
            torch.nn.utils.clip_grad_value_(net.parameters(), options["clip_value"])
        optimizer.step()
        if average:
            average.update_parameters(net)
    result = {"options": options, "values": sample(net.parameters())}
    if average:
        result["average"] = sample(average.module.parameters())
    return result


O = torch.optim
GROUPS = [["embedding", 0.25, 0.5], ["*_bias", 2.0, 0.3], ["mat???", 1.0, 0.0], ["*", 0.5, None]]
CASES = [
    ({"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.0, "clip_value": 0.05},
     lambda groups: O.SGD(groups, momentum=0.9)),
    ({"optimizer": "adamw", "learning_rate": 0.01, "beta2": 0.95, "weight_decay": 0.1, "clip_value": 0.05},
     lambda groups: O.AdamW(groups, betas=(0.9, 0.95))),
    ({"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.1, "groups": GROUPS},
     lambda groups: O.SGD(groups, momentum=0.9)),
    ({"optimizer": "adam", "learning_rate": 0.01, "beta2": 0.95, "weight_decay": 0.1, "groups": GROUPS},
     lambda groups: O.Adam(groups, betas=(0.9, 0.95))),
    ({"optimizer": "adamw", "learning_rate": 0.01, "beta2": 0.95, "weight_decay": 0.1, "groups": GROUPS},
     lambda groups: O.AdamW(groups, betas=(0.9, 0.95))),
    ({"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.1, "ema": 0.9},
     lambda groups: O.SGD(groups, momentum=0.9)),
    ({"optimizer": "adamw", "learning_rate": 0.01, "beta2": 0.95, "weight_decay": 0.1, "ema": 0.99, "clip_value": 0.05,
      "groups": GROUPS}, lambda groups: O.AdamW(groups, betas=(0.9, 0.95))),
]


def main():
    print("{")
    print(f'"names": {json.dumps(NAMES)}, "shapes": {json.dumps(SHAPES)}, "steps": {STEPS}, "stride": {STRIDE},')
    print('"cases": [')
    print(",\n".join(json.dumps(run(options, make)) for options, make in CASES))
    print("]}")


if __name__ == "__main__":
    main()
