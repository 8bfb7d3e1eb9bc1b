"""Numbers taken from the path of a pair: barriers against chance, errors against the models' own, the ensemble."""

from __future__ import annotations

import math
from typing import Any, Literal

from lmc.claims.studies import Imprecise
from lmc.datasets import Size

Record = dict[str, Any]
Where = Literal["midpoint", "maximum"]


def barrier_of_chance(where: Where = "midpoint") -> Imprecise:
    """The calibrated loss barrier of a pair as a share of ln C, the loss of chance on C classes (Def. 2.1).

    Args:
        where: at λ = ½, or the largest over λ.
    """
    key = f"calibrated_loss_barrier_{where}"
    return Imprecise(
        lambda record: record["path"]["barriers"][key] / _chance(record),
        lambda record: record["path"]["errors"][key] / _chance(record),
    )


def _left(record: Record) -> float:
    found = record["path"]["barriers"]
    left: float = found["calibrated_loss_barrier_midpoint"] - found["loss_barrier_midpoint"] / 2
    return left / _chance(record)


def _left_error(record: Record) -> float:
    errors = record["path"]["errors"]
    error: float = errors["calibrated_loss_barrier_midpoint"] + errors["loss_barrier_midpoint"] / 2
    return error / _chance(record)


left_by_calibration = Imprecise(_left, _left_error)
"""The calibrated barrier at the midpoint less half of the raw one, as a share of ln C, below 0 where β removes more
than half. Both errors add up, which is too much rather than too little."""


def errors_beyond(times: float) -> Imprecise:
    """How much more often the model merged at λ = ½ errs than ``times`` as often as the two it was made of.

    Their mean is below 0 where the mean error is less than ``times`` theirs; a mean of ratios would not be, and does
    not exist where a model makes no error.
    """

    def read(record: Record) -> float:
        return _errors(record, _middle(record)) - times * _own_errors(record)

    def error(record: Record) -> float:
        beyond = record["path"]["errors"]["accuracy_barrier_midpoint"]
        return float(beyond + abs(times - 1) * _of_images(_own_errors(record), record))

    return Imprecise(read, error)


def errors_beyond_along(times: float) -> Imprecise:
    """The largest over λ of `errors_beyond`, for a line between the models' own errors."""

    def read(record: Record) -> float:
        path = record["path"]
        last = len(path["lams"]) - 1
        own = [lam * _errors(record, last) + (1 - lam) * _errors(record, 0) for lam in path["lams"]]
        return float(max(_errors(record, at) - times * each for at, each in enumerate(own)))

    def error(record: Record) -> float:
        beyond = record["path"]["errors"]["accuracy_barrier_maximum"]
        return float(beyond + abs(times - 1) * _of_images(_own_errors(record), record))

    return Imprecise(read, error)


def errors_beyond_ensemble(allowed: float, of: Literal["models", "ensemble"]) -> Imprecise:
    """How much more often the merged model errs than the ensemble does, less what is allowed.

    Args:
        allowed: as a share of the errors of one of both.
        of: of which, the ``models`` on average or the ``ensemble``.
    """

    def margin(record: Record) -> float:
        return _own_errors(record) if of == "models" else _ensemble_errors(record)

    def read(record: Record) -> float:
        return _errors(record, _middle(record)) - _ensemble_errors(record) - allowed * margin(record)

    def error(record: Record) -> float:
        """Only images of which the two say different classes tell their accuracies apart, each by one at most."""
        unlike = 1 - record["path"]["agreement"]["merged_ensemble"]
        apart = _errors(record, _middle(record)) - _ensemble_errors(record)
        paired = math.sqrt(max(0.0, unlike - apart**2) / _images(record))
        return paired + allowed * _of_images(margin(record), record)

    return Imprecise(read, error)


def _beyond_ensemble(record: Record) -> float:
    path = record["path"]
    beyond: float = path["points"][_middle(record)]["calibrated_loss"] - path["ensemble"]["calibrated_loss"]
    return beyond / _chance(record)


loss_beyond_ensemble = Imprecise(_beyond_ensemble, barrier_of_chance().error)
"""The merged model's calibrated loss less that of the ensemble, as a share of ln C. The error is that of the barrier,
which is taken image by image against the models themselves."""


def agreement(which: Literal["merged_ensemble", "a_b"]) -> Imprecise:
    """The share of test images of which two say the same class, see `lmc.measuring.path_record.path_record`."""

    def read(record: Record) -> float:
        found: float = record["path"]["agreement"][which]
        return found

    return Imprecise(read, lambda record: _of_images(read(record), record))


def _middle(record: Record) -> int:
    at: int = record["path"]["lams"].index(0.5)
    return at


def _errors(record: Record, at: int) -> float:
    found: float = 1 - record["path"]["points"][at]["accuracy"]
    return found


def _own_errors(record: Record) -> float:
    return (_errors(record, 0) + _errors(record, -1)) / 2


def _ensemble_errors(record: Record) -> float:
    found: float = 1 - record["path"]["ensemble"]["accuracy"]
    return found


def _chance(record: Record) -> float:
    size: Size = record["size"]
    return math.log(size.classes)


def _images(record: Record) -> int:
    size: Size = record["size"]
    return size.test_images


def _of_images(share: float, record: Record) -> float:
    """Standard error of a share of the test images."""
    return math.sqrt(share * (1 - share) / _images(record))
