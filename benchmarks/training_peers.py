#!/usr/bin/env python3
"""A training step of the example's GPT in PyTorch, for compare_training: one rank of one mode.

Modes: passes (forward and backward alone, no update: what no framework can be faster than), alone (torch.optim.AdamW
as it comes), alone-fused, ddp, zero1 (ZeroRedundancyOptimizer), fsdp2. Rank and world size are RANK and WORLD_SIZE of
the environment, as torchrun sets them; rank 0 prints one JSON object.
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        parts = [part.view(n, t, self.heads, width // self.heads).transpose(1, 2)
                 for part in self.qkv(self.norm1(x)).chunk(3, -1)]
        attended = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.project(attended.transpose(1, 2).reshape(n, t, width))
        return x + self.contract(functional.gelu(self.expand(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        return functional.linear(self.norm(self.blocks(x)), self.tokens.weight)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", required=True, choices=("passes", "alone", "alone-fused", "ddp", "zero1", "fsdp2"))
    for name, default in (("vocabulary", 256), ("context", 64), ("width", 512), ("layers", 8), ("heads", 4),
                          ("batch", 2), ("steps", 20), ("warmup", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def build(arguments):
    """(model, optimizer) of the mode; None where nothing is updated."""
    model = Gpt(arguments.vocabulary, arguments.context, arguments.width, arguments.layers, arguments.heads)
    settings = {"lr": 1e-3, "weight_decay": 0.01}
    if arguments.mode == "passes":
        return model, None
    if arguments.mode == "alone":
        return model, torch.optim.AdamW(model.parameters(), **settings)
    if arguments.mode == "alone-fused":
        return model, torch.optim.AdamW(model.parameters(), fused=True, **settings)
    if arguments.mode == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model, torch.optim.AdamW(model.parameters(), **settings)
    model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    if arguments.mode == "ddp":
        return model, torch.optim.AdamW(model.parameters(), **settings)
    from torch.distributed.optim import ZeroRedundancyOptimizer
    return model, ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.AdamW, **settings)


def timed_step(model, optimizer, arguments):
    started = time.monotonic()
    ids = torch.randint(arguments.vocabulary, (arguments.batch, arguments.context + 1))
    logits = model(ids[:, :-1])
    loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    if optimizer is None:
        model.zero_grad()
    else:
        optimizer.step()
        optimizer.zero_grad()
    return (time.monotonic() - started) * 1000


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    together = not arguments.mode.startswith(("passes", "alone"))
    if together:
        dist.init_process_group("gloo")
    model, optimizer = build(arguments)
    for _ in range(arguments.warmup):
        timed_step(model, optimizer, arguments)
    times = sorted(timed_step(model, optimizer, arguments) for _ in range(arguments.steps))
    if int(os.environ.get("RANK", 0)) == 0:
        print(json.dumps({"library": "pytorch", "mode": arguments.mode, "median_ms": statistics.median(times),
                          "least_ms": times[0], "most_ms": times[-1]}), flush=True)
    if together:
        dist.destroy_process_group()
    # Not by Python's end: Gloo's threads that are there still abort the process now and then.
    os._exit(0)


if __name__ == "__main__":
    main()
