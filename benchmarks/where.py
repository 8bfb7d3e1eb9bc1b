"""Where the time of a training step goes: ``python benchmarks/where.py resnet20 --batch 128 --precision bf16``.

Shares of the processor time of one thread by operation, from torch's profiler, over eight steps on random images.
"""

from __future__ import annotations

import argparse

import torch
from random_images import random_dataset

from lmc.architectures import architecture_names
from lmc.executing.process import prepare_arithmetic
from lmc.specs import PRECISIONS, RunSpec
from lmc.training.engine import train

SHOWN = 8


def shares(spec: RunSpec, side: int) -> list[tuple[str, float]]:
    """Share of a step's time by operation, the largest first."""
    dataset = random_dataset("random", (3, side, side), 8 * spec.batch_size)
    train(spec, dataset)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(spec, dataset)
    rows = profile.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    return sorted(((row.key, row.self_cpu_time_total / total) for row in rows), key=lambda row: -row[1])


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", choices=architecture_names())
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    asked = parser.parse_args()
    prepare_arithmetic(1)
    spec = RunSpec(
        dataset="random",
        arch=asked.arch,
        width=asked.width,
        epochs=1,
        batch_size=asked.batch,
        augment=True,
        precision=asked.precision,
    )
    found = shares(spec, asked.side)
    for name, share in found[:SHOWN]:
        print(f"{share:6.1%}  {name}")
    print(f"{sum(share for _, share in found[SHOWN:]):6.1%}  all else")


if __name__ == "__main__":
    main()
