"""Merging weights: interpolation, running statistics, inverse temperature."""

from lmc.merging.batchnorm import has_bn, reset_bn_stats, untracked_norms
from lmc.merging.state_file import StateFile
from lmc.merging.temperature import calibration_split, fit_inverse_temperature
from lmc.merging.weights import State, interpolate, merge

__all__ = [
    "State",
    "StateFile",
    "calibration_split",
    "fit_inverse_temperature",
    "has_bn",
    "interpolate",
    "merge",
    "reset_bn_stats",
    "untracked_norms",
]
