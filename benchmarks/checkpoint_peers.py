#!/usr/bin/env python3
"""Saving and restoring a state in PyTorch's ways, for compare_checkpoint: one library a run.

Libraries: torch-save and safetensors (to a temporary name, then renamed), dcp (torch.distributed.checkpoint), dcp-async
(its async_save). Modes are those of checkpoint_bench; figures are printed as one JSON object.
"""
import argparse
import json
import os
import random
import shutil
import sys
import time
import warnings
from pathlib import Path

import torch

TENSORS = 24


def make_state(mib, seed):
    generator = torch.Generator().manual_seed(seed)
    numel = (mib << 20) // TENSORS // 4
    return {f"model/layers.{i}.weight": torch.rand(numel, generator=generator) for i in range(TENSORS)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TorchSave:
    def __init__(self, directory):
        self.path = directory / "state.pt"

    def save(self, state):
        torch.save(state, f"{self.path}.tmp")
        os.rename(f"{self.path}.tmp", self.path)
        return lambda: None

    def load(self, _):
        return torch.load(self.path, weights_only=True)


class Safetensors:
    def __init__(self, directory):
        self.path = directory / "state.safetensors"

    def save(self, state):
        from safetensors.torch import save_file
        save_file(state, f"{self.path}.tmp")
        os.rename(f"{self.path}.tmp", self.path)
        return lambda: None

    def load(self, _):
        from safetensors.torch import load_file
        # A copy: the file is mapped, and reading it is what is measured.
        return {name: tensor.clone() for name, tensor in load_file(self.path).items()}


class Dcp:
    is_async = False

    def __init__(self, directory):
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        self.path = directory / "dcp"

    def save(self, state):
        from torch.distributed import checkpoint
        if self.is_async:
            return checkpoint.async_save(state, checkpoint_id=self.path).result
        checkpoint.save(state, checkpoint_id=self.path)
        return lambda: None

    def load(self, like):
        from torch.distributed import checkpoint
        state = {name: torch.zeros_like(tensor) for name, tensor in like.items()}
        checkpoint.load(state, checkpoint_id=self.path)
        return state


class DcpAsync(Dcp):
    is_async = True


LIBRARIES = {"torch-save": TorchSave, "safetensors": Safetensors, "dcp": Dcp, "dcp-async": DcpAsync}


def files_of(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def make_durable(directory):
    """What none of them does: every file and every directory reaches the disk."""
    for path in [*files_of(directory), *(p for p in directory.rglob("*") if p.is_dir()), directory]:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def forget(directory):
    for path in files_of(directory):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def speed(library, state, directory, saves):
    stalls, rates = [], []
    for save in range(saves + 1):
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        begin = time.perf_counter()
        wait = library.save(state)
        stall = time.perf_counter() - begin
        wait()
        make_durable(directory)
        if save > 0:  # the first one warms up, as ours does
            stalls.append(stall * 1e3)
            rates.append(sum(t.nbytes for t in state.values()) / 1e6 / (time.perf_counter() - begin))
    forget(directory)
    begin = time.perf_counter()
    restored = library.load(state)
    seconds = time.perf_counter() - begin
    print(json.dumps({"stall_ms": stalls, "durable_mb_s": rates, "restore_s": seconds,
                      "right": same(restored, state)}))


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << (bit % 8))]))


def flips(library, state, directory, count, seed):
    library.save(state)()
    chooser = random.Random(seed)
    detected = silent = 0
    files = files_of(directory)
    for _ in range(count):
        path = chooser.choices(files, [file.stat().st_size for file in files])[0]
        bit = chooser.randrange(path.stat().st_size * 8)
        flip(path, bit)
        try:
            if not same(library.load(state), state):
                silent += 1
        except Exception:  # whatever it is, the library noticed
            detected += 1
        flip(path, bit)
    print(json.dumps({"flips": count, "detected": detected, "silent": silent}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, choices=LIBRARIES)
    parser.add_argument("--mode", required=True, choices=("speed", "save", "load", "flips"))
    parser.add_argument("--directory", required=True, type=Path)
    for name, default in (("mib", 512), ("saves", 5), ("flips", 100), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    library = LIBRARIES[arguments.library](arguments.directory)
    state = make_state(arguments.mib, arguments.seed)
    if arguments.mode == "speed":
        speed(library, state, arguments.directory, arguments.saves)
    elif arguments.mode == "save":
        library.save(state)()
        print("saved", flush=True)
    elif arguments.mode == "flips":
        flips(library, state, arguments.directory, arguments.flips, arguments.seed)
    else:
        try:
            return 0 if same(library.load(state), state) else 1
        except Exception:
            return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
