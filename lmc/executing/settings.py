"""Where things live and what to run on: options, environment variables, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from msgspec import convert
from msgspec.structs import replace

from lmc.errors import DeviceError, SpecError
from lmc.results.document import Selection
from lmc.specs import PRECISIONS

DEVICES = ("auto", "cpu", "cuda")
EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Settings:
    """Resolved settings of one run.

    Args:
        tier: name of the tier.
        store: folder of models and measurements.
        data: folder of prepared datasets.
        device: ``"cpu"`` or ``"cuda"``.
        workers: worker processes.
        results: where the results file goes; ``None`` for a new file in the results folder.
        home: the folder everything lives in by default.
        claims: only claims whose id contains one of these; ``core`` stands for the paper's core claims.
            Empty for all.
        arch: only this kind of architecture; ``None`` for all.
        dataset: only this dataset; ``None`` for all.
        max_width: no model wider than this; ``None`` for no limit.
        precision: ``"fp32"`` or ``"bf16"`` for every model; ``None`` leaves it to the tier and the device.
        baseline: the results file the run is compared with; ``None`` for none.
        executor: ``"local"`` for processes on this machine, ``"ray"`` for tasks of a Ray cluster.
        ray_address: of that cluster; ``None`` for ``RAY_ADDRESS``, or a Ray of this run's own.
    """

    tier: str
    store: Path
    data: Path
    device: str
    workers: int
    results: Path | None
    home: Path
    claims: tuple[str, ...] = ()
    arch: str | None = None
    dataset: str | None = None
    max_width: float | None = None
    precision: str | None = None
    baseline: Path | None = None
    executor: str = "local"
    ray_address: str | None = None

    @classmethod
    def resolve(cls, environ: Mapping[str, str] | None = None, **options: str | float | Path | None) -> Settings:
        """Options win over environment variables (``LMC_TIER`` and so on), those over defaults.

        Args:
            environ: environment variables; ``None`` reads the process's.
            **options: any of ``tier``, ``store``, ``data``, ``device``, ``workers``, ``results``, ``claims``
                (separated by commas), ``arch``, ``dataset``, ``max_width``, ``precision``, ``baseline``,
                ``executor``, ``ray_address``; ``None`` counts as not given.

        Raises:
            SpecError: a value is out of range.
            DeviceError: CUDA is asked for and absent.
        """
        environ = os.environ if environ is None else environ

        def chosen(name: str) -> str | None:
            value = options.get(name)
            return str(value) if value is not None else environ.get(f"LMC_{name.upper()}") or None

        def path(name: str) -> Path | None:
            return Path(value).expanduser() if (value := chosen(name)) else None

        default_home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmc"
        home = Path(environ.get("LMC_HOME") or default_home).expanduser()
        executor = _executor(chosen("executor"))
        if executor != "ray" and (address := options.get("ray_address")) is not None:
            raise SpecError(f"a Ray cluster was named, {str(address)!r}, for executor {executor!r}; add --executor ray")
        return cls(
            tier=chosen("tier") or "quick",
            store=path("store") or home / "store",
            data=path("data") or home / "data",
            device=resolve_device(chosen("device") or "auto", here=executor == "local"),
            workers=_workers(chosen("workers")),
            results=path("results"),
            home=home,
            claims=tuple(filter(None, (part.strip() for part in (chosen("claims") or "").split(",")))),
            arch=chosen("arch"),
            dataset=chosen("dataset"),
            max_width=_width(chosen("max_width")),
            precision=_precision(chosen("precision")),
            baseline=path("baseline"),
            executor=executor,
            ray_address=chosen("ray_address"),
        )

    def selection(self, *, pilot: bool = False) -> Selection:
        """What is asked to be judged, for the results file; a precision that is left open stays ``None``.

        Args:
            pilot: whether the seeds are those that thresholds are chosen on.
        """
        return replace(convert(self, Selection, from_attributes=True), pilot=pilot)


def resolve_device(name: str, *, here: bool = True) -> str:
    """``"cpu"`` or ``"cuda"``; ``auto`` takes CUDA where this machine has one.

    Args:
        name: what was asked for.
        here: whether this machine will compute; another may have the CUDA device that this one lacks.

    Raises:
        SpecError: the name is unknown.
        DeviceError: CUDA is asked for and absent.
    """
    if name not in DEVICES:
        raise SpecError(f"unknown device {name!r}; choose one of {', '.join(DEVICES)}")
    if name == "cuda" and not here:
        return "cuda"
    if name == "cpu" or (name == "auto" and not Path("/proc/driver/nvidia").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise DeviceError("device 'cuda' was asked for, but torch sees no CUDA device; use 'cpu' or 'auto'")
    return "cpu"


def gpu_memories() -> list[int]:
    """Bytes of every GPU that this process may use."""
    import torch

    return [torch.cuda.get_device_properties(each).total_memory for each in range(torch.cuda.device_count())]


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _executor(value: str | None) -> str:
    if value is None:
        return "local"
    if value not in EXECUTORS:
        raise SpecError(f"unknown executor {value!r}; choose one of {', '.join(EXECUTORS)}")
    return value


def _workers(value: str | None) -> int:
    if value is None:
        return cores()
    if not value.isdigit() or int(value) < 1:
        raise SpecError(f"workers is {value!r}; it must be a whole number of at least 1")
    return int(value)


def _width(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        width = float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        width = 0.0
    if not 0 < width < float("inf"):
        raise SpecError(f"max_width is {value!r}; it must be a number above 0, e.g. 2 or 1/4")
    return width


def _precision(value: str | None) -> str | None:
    if value in (None, "auto"):
        return None
    if value not in PRECISIONS:
        raise SpecError(f"unknown precision {value!r}; choose one of auto, {', '.join(PRECISIONS)}")
    return value


def fast_bf16(device: str) -> bool:
    """Whether bf16 pays on ``device``: on GPUs, and on CPUs that compute in it; others take 4 to 16 times longer.

    The processor is asked, not timed: the answer is part of every model's key, and a busy moment must not change it.
    """
    if device == "cuda":
        return True
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in facts or "avx512_bf16" in facts
