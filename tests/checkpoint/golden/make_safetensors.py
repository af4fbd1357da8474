"""Writes reference.safetensors with the reference implementation (safetensors 0.8): python make_safetensors.py

Byte k of tensor number t (counted by name) is (31 t + 7 k) mod 256, and its lowest bit where the tensor is bool.
"""

import ctypes
from pathlib import Path

import safetensors

SHAPES = {
    "bool": ("bool", [13]),
    "bytes": ("uint8", [3, 5]),
    "half": ("float16", [5, 5]),
    "brain": ("bfloat16", [3, 11]),
    "layer.0.weight": ("float32", [4, 3, 2]),
    "layer.0.bias": ("float32", [4]),
    "layer.0.steps": ("int64", []),
    "double": ("float64", [2, 2]),
    "int8": ("int8", [3]),
    "int16": ("int16", [3, 1]),
    "int32": ("int32", [1, 2]),
    "nothing": ("float32", [0, 4]),
    'quote " slash \\ / \u00e9': ("float32", [1]),
}
SIZES = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4,
         "int64": 8, "float64": 8}

tensors = {}
buffers = []  # kept until they are written
for t, name in enumerate(sorted(SHAPES, key=lambda name: name.encode())):
    dtype, shape = SHAPES[name]
    count = SIZES[dtype]
    for dim in shape:
        count *= dim
    mask = 1 if dtype == "bool" else 255
    buffers.append((ctypes.c_ubyte * count)(*((31 * t + 7 * k) & mask for k in range(count))))
    tensors[name] = safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(buffers[-1]),
                                           data_len=count)
# One entry: the reference writes several in no fixed order.
data = safetensors.serialize(tensors, {"format": "pt \u00e9"})
(Path(__file__).parent / "reference.safetensors").write_bytes(data)
