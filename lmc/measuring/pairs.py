"""What is measured of a pair of trained models, as cells of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmc.errors import MergeError, SpecError
from lmc.specs import RunSpec, content_key

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lmc.data import Dataset

MEASURE_VERSION = 3
"""Raised whenever the measuring code changes what a measurement holds; part of every key."""

LAYER_IMAGES = 400
"""Test inputs that layers are measured on: the mean of 400 cosines is known to a few thousandths, far better
than pairs of models agree."""

MIDPOINT = (0.0, 0.5, 1.0)
FULL_PATH = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class PairMeasurement:
    """The path between two models and their layers at the midpoint.

    Args:
        a: spec of model a, at λ = 1.
        b: spec of model b, at λ = 0; equal to ``a`` up to the seeds. The same spec is a control.
        lams: points of the path, increasing, with 0, ½ and 1.

    Raises:
        SpecError: ``lams`` lacks a needed point or is not increasing.
        MergeError: the two specs are of different architecture, width or dataset.
    """

    a: RunSpec
    b: RunSpec
    lams: tuple[float, ...] = MIDPOINT

    def __post_init__(self) -> None:
        if not set(MIDPOINT) <= set(self.lams) or sorted(set(self.lams)) != list(self.lams):
            raise SpecError(f"lams {self.lams} must increase from 0 to 1 and include 0.5")
        if self.lams[0] != 0 or self.lams[-1] != 1:
            raise SpecError(f"lams {self.lams} must lie within [0, 1]")
        for field in ("dataset", "arch", "width", "train_size", "bias"):
            one, other = getattr(self.a, field), getattr(self.b, field)
            if one != other:
                raise MergeError(f"cannot merge {field} {one!r} with {field} {other!r}; choose equal specs")

    @property
    def key(self) -> str:
        """Content key of this measurement."""
        return content_key(["pair", MEASURE_VERSION, self.a.key, self.b.key, list(self.lams)])

    def describe(self) -> str:
        """One line for logs and error messages."""
        return f"pair {self.a.init_seed}-{self.b.init_seed} of {self.a.describe()}"


def measure_pair(
    measurement: PairMeasurement,
    state_a: dict[str, Tensor],
    state_b: dict[str, Tensor],
    dataset: Dataset,
    device: Any,
) -> dict[str, Any]:
    """Carry out ``measurement`` on the two trained models.

    Args:
        measurement: what to measure.
        state_a: weights of model a.
        state_b: weights of model b.
        dataset: the specs' dataset.
        device: where to compute.

    Returns:
        JSON-ready: ``distance`` ‖θ_a - θ_b‖ over the parameters, ``path`` (see `measure_path`) and
        ``layers`` (see `measure_layers`), the latter on the first `LAYER_IMAGES` test inputs.

    Raises:
        MergeError: a model's logits are not finite.
    """
    from lmc.measuring.evaluation import Inputs
    from lmc.measuring.layers import measure_layers_and_logits
    from lmc.measuring.paths import BN_IMAGES, measure_path
    from lmc.merging import interpolate, reset_bn_stats

    inputs = Inputs.of(dataset, measurement.a.train_size, device)
    a, b, merged = (_network(measurement.a, dataset, device) for _ in range(3))
    a.load_state_dict(state_a)
    b.load_state_dict(state_b)
    device_a, device_b = a.state_dict(), b.state_dict()
    merged.load_state_dict(interpolate(device_a, device_b, 0.5))
    reset_bn_stats(merged, inputs.train_batches(BN_IMAGES))
    layers, logits = measure_layers_and_logits(a, b, merged, inputs, LAYER_IMAGES)
    known = {0.0: logits["b"], 0.5: logits["m"], 1.0: logits["a"]}
    path = measure_path(merged, device_a, device_b, measurement.lams, inputs, known)
    squares = [
        (one - other).detach().double().square().sum()
        for one, other in zip(a.parameters(), b.parameters(), strict=True)
    ]
    return {
        "status": "measured",
        "distance": float(sum(squares)) ** 0.5,
        "path": path,
        "layers": layers,
    }


def _network(spec: RunSpec, dataset: Dataset, device: Any) -> nn.Module:
    from lmc.nets import build, memory_format_of

    network = build(spec.arch, spec.width, dataset.shape, len(dataset.classes), bias=spec.bias)
    return network.to(device).to(memory_format=memory_format_of(spec.arch)).eval()
