"""Computes the state hash of checkpoint_test.cc's golden state from its definition in docs/checkpoint_format.md.

Needs the PyPI package xxhash, which carries its own copy of XXH3: pip install xxhash && python state_hash_golden.py
"""
import json
import struct

import xxhash

TENSORS = {
    "model.weight": (1, [2, 3], struct.pack("<6f", 1.0, -2.5, 0.0, 3.0, 1e-3, 65504.0)),
    "count": (8, [], struct.pack("<q", 42)),
}
PROGRESS = {"step": 3, "epoch": 0, "loss": 0.25}

state = b"muster-state-1" + struct.pack("<Q", len(TENSORS))
for name in sorted(TENSORS, key=str.encode):
    dtype, shape, data = TENSORS[name]
    state += struct.pack("<Q", len(name.encode())) + name.encode()
    state += struct.pack("<BQ", dtype, len(shape)) + struct.pack(f"<{len(shape)}q", *shape) + data
progress = json.dumps(PROGRESS, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
state += struct.pack("<Q", len(progress)) + progress
print(xxhash.xxh3_128_hexdigest(state))
