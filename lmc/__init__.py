"""Merging independently trained networks by averaging their weights: measured, judged, explained.

The public names below are imported when they are first used, so that ``import lmc`` stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmc.architectures import Architecture, register_architecture
    from lmc.data import Dataset, load_dataset
    from lmc.datasets import register_dataset
    from lmc.diagnosing.diagnose import diagnose, diagnose_states
    from lmc.diagnosing.diagnosis import Diagnosis
    from lmc.diagnosing.effective import effective_copy
    from lmc.diagnosing.soup import Soup, greedy_soup
    from lmc.diagnosing.standard import Thresholds
    from lmc.diagnosing.task import Metric
    from lmc.errors import DataError, DeviceError, LmcError, MergeError, SpecError, StoreError
    from lmc.measuring.layers import measure_layers
    from lmc.measuring.paths import interpolation_path, measure_path
    from lmc.merging import StateFile, fit_inverse_temperature, interpolate, merge, reset_bn_stats
    from lmc.merging.complementary import complementary_permutations
    from lmc.merging.permutation_spec import PermutationSpec, permute, random_permutations
    from lmc.merging.strengths import norm_strengths, response_strengths
    from lmc.merging.sums import sum_merge, sum_parts
    from lmc.merging.tracing import trace_permutation_spec
    from lmc.merging.weight_matching import weight_matching
    from lmc.nets import build
    from lmc.specs import RunSpec
    from lmc.training.engine import train

_HOMES = {
    "lmc.architectures": ("Architecture", "register_architecture"),
    "lmc.data": ("Dataset", "load_dataset"),
    "lmc.datasets": ("register_dataset",),
    "lmc.diagnosing.diagnose": ("diagnose", "diagnose_states"),
    "lmc.diagnosing.diagnosis": ("Diagnosis",),
    "lmc.diagnosing.effective": ("effective_copy",),
    "lmc.diagnosing.soup": ("Soup", "greedy_soup"),
    "lmc.diagnosing.standard": ("Thresholds",),
    "lmc.diagnosing.task": ("Metric",),
    "lmc.errors": ("DataError", "DeviceError", "LmcError", "MergeError", "SpecError", "StoreError"),
    "lmc.measuring.layers": ("measure_layers",),
    "lmc.measuring.paths": ("interpolation_path", "measure_path"),
    "lmc.merging": ("StateFile", "fit_inverse_temperature", "interpolate", "merge", "reset_bn_stats"),
    "lmc.merging.complementary": ("complementary_permutations",),
    "lmc.merging.permutation_spec": ("PermutationSpec", "permute", "random_permutations"),
    "lmc.merging.strengths": ("norm_strengths", "response_strengths"),
    "lmc.merging.sums": ("sum_merge", "sum_parts"),
    "lmc.merging.tracing": ("trace_permutation_spec",),
    "lmc.merging.weight_matching": ("weight_matching",),
    "lmc.nets": ("build",),
    "lmc.specs": ("RunSpec",),
    "lmc.training.engine": ("train",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  (in the order of use)
    "RunSpec",
    "Dataset",
    "load_dataset",
    "build",
    "train",
    "StateFile",
    "interpolate",
    "merge",
    "sum_parts",
    "sum_merge",
    "reset_bn_stats",
    "fit_inverse_temperature",
    "PermutationSpec",
    "trace_permutation_spec",
    "weight_matching",
    "permute",
    "norm_strengths",
    "response_strengths",
    "complementary_permutations",
    "random_permutations",
    "interpolation_path",
    "measure_path",
    "measure_layers",
    "diagnose",
    "diagnose_states",
    "Thresholds",
    "Metric",
    "effective_copy",
    "greedy_soup",
    "Soup",
    "Diagnosis",
    "Architecture",
    "register_architecture",
    "register_dataset",
    "LmcError",
    "SpecError",
    "DataError",
    "StoreError",
    "MergeError",
    "DeviceError",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'lmc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
