#!/usr/bin/env python3
"""A small decoder in PyTorch, the twin of examples/gpt.h: makes decoder.safetensors and decoder_logits.safetensors, or
with --check FILE OUT says how far FILE's logits, by PyTorch, are from those in OUT. Needs torch 2.11.

    make_decoder.py TEXT_FILE DIRECTORY      trains for a minute on the text's bytes
    make_decoder.py --check FILE OUT
"""
import json
import struct
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS = 256, 32, 16, 2, 2
DTYPES = {torch.float32: "F32", torch.int64: "I64"}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x):
        n, t, width = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, width)

    def forward(self, x):
        x = x + self.project(self.attend(self.norm1(x)))
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


class Decoder(nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[:ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def write(path, tensors, metadata):
    """safetensors, as its reference implementation orders it: large elements first, then by name."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().contiguous()
        raw = bytes(tensor.view(torch.uint8).flatten().tolist())
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    raw = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = {text: dtype for dtype, text in DTYPES.items()}[entry["dtype"]]
        part = torch.frombuffer(bytearray(raw[8 + size + begin:8 + size + end]), dtype=dtype)
        tensors[name] = part.view(entry["shape"])
    return tensors, metadata


def load(path):
    tensors, metadata = read(path)
    vocabulary, width = tensors["tokens.weight"].shape
    layers = sum(name.endswith(".qkv.weight") for name in tensors)
    decoder = Decoder(vocabulary, tensors["positions.weight"].shape[0], width, layers, int(metadata["heads"]))
    decoder.load_state_dict(tensors)
    return decoder


def make(text_file, directory):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    decoder = Decoder(VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS)
    data = torch.tensor(list(Path(text_file).read_bytes()))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=5e-3)
    for _ in range(600):
        begin = torch.randint(len(data) - CONTEXT - 1, (16, 1))
        batch = data[begin + torch.arange(CONTEXT + 1)]
        loss = F.cross_entropy(decoder(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f}")
    write(directory / "decoder.safetensors", decoder.state_dict(), {"heads": str(HEADS)})
    ids = torch.arange(2 * CONTEXT).view(2, CONTEXT) * 37 % VOCABULARY
    write(directory / "decoder_logits.safetensors", {"ids": ids, "logits": decoder(ids)}, {})


def check(path, out):
    expected, _ = read(out)
    with torch.no_grad():
        logits = load(path)(expected["ids"])
    difference = (logits - expected["logits"]).abs().max().item()
    print(f"largest difference {difference:.3g} of logits up to {logits.abs().max().item():.3g}")


if sys.argv[1] == "--check":
    check(sys.argv[2], sys.argv[3])
else:
    make(sys.argv[1], Path(sys.argv[2]))
