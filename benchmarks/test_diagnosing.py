"""The diagnosis of two ResNet-18 on 1,000 images, in a process of its own, as its memory counts too.

Minutes long, so run only where ``LMC_BENCH_RUNS=1``. Untrained models: their arithmetic is that of trained ones.
Permutation is always tried, which makes it the dearest case.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_runs import environment, minutes
from timing import STRICT, THREADS, sized

IMAGES = sized(1000, 40)
SECONDS, MEBIBYTES = 60.0, 2048.0

SCRIPT = """
import json, pathlib, time
import torch
from torchvision.models import resnet18
import lmc

torch.set_num_threads({threads})
torch.manual_seed(0)
a, b = resnet18(num_classes=10).eval(), resnet18(num_classes=10).eval()
data = torch.randn({images}, 3, {side}, {side}), torch.randint(10, ({images},))
before = time.perf_counter()
found = lmc.diagnose(a, b, data, train_data=data[0], permutation="always")
seconds = time.perf_counter() - before
status = pathlib.Path("/proc/self/status").read_text()  # getrusage would count the process that started this one
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({{"seconds": seconds, "peak": peak, "merges": [each.name for each in found.candidates]}}))
"""


@minutes
@pytest.mark.parametrize("side", [32, 64])
def test_two_resnets(benchmark: Any, tmp_path: Path, side: int) -> None:
    """At most a minute and 2 GiB on two cores."""
    script = SCRIPT.format(threads=THREADS, images=IMAGES, side=side)
    found: list[dict[str, Any]] = []

    def diagnose() -> None:
        command = [sys.executable, "-c", script]
        run = subprocess.run(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(run.stdout))

    benchmark.pedantic(diagnose, rounds=1)
    (facts,) = found
    assert len(facts["merges"]) == 4  # with and without permutation and reset: nothing was left out
    benchmark.extra_info |= {
        "work": f"lmc.diagnose, two ResNet-18, {IMAGES:,} images of {side}x{side}, with weight matching",
        "run_seconds": facts["seconds"],
        "target_seconds": SECONDS,
        "peak_pss_mib": facts["peak"],
        "target_mib": MEBIBYTES,
    }
    assert not STRICT or (facts["seconds"] <= SECONDS and facts["peak"] <= MEBIBYTES), facts
