"""The linear path between two models: loss, accuracy and calibrated loss along λ, and its barriers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.measuring.evaluation import Evaluation, Judged, judge_all, logits_of
from lmc.measuring.first_layer import FirstLayer, answering, find_first_layer
from lmc.measuring.inputs import Inputs
from lmc.measuring.path_record import mean_logits, path_record
from lmc.merging import State, has_bn, reset_bn_stats, untracked_norms
from lmc.merging.batchnorm import read_bn_stats, write_bn_stats
from lmc.merging.weights import check_same_architecture, weighted_sum, wide_type
from lmc.precision import double

BN_IMAGES = 5000
"""Training images the merged model's BatchNorm statistics are recomputed on, at most."""

KEPT_BYTES = 64 * 2**20
"""Inputs and first-layer pre-activations of both models held at once, at most, unless one batch has more."""

REPLAYED = 2**18
"""Pre-activations the rest of the net is run on at once, at least; a narrow net's time is calls, not arithmetic."""

PROBED = 4
"""Images that a net's first layer is looked for on."""

NUMBER_COST = 32
"""Multiply-adds that take as long as interpolating one number, which memory limits."""


@torch.no_grad()
def load_interpolated(model: nn.Module, a: State, b: State, lam: float) -> None:
    """Overwrite ``model`` with θ(λ) = λ θ_a + (1-λ) θ_b, the same numbers as `lmc.merging.weights.interpolate` gives.

    Besides the model no more than one tensor of each state is held, where the mappings read them lazily.

    Args:
        model: a module of the architecture; its tensors are written in place.
        a: state dict of model a (λ = 1); integer buffers are always its.
        b: state dict of model b (λ = 0).
        lam: λ in [0, 1].

    Raises:
        MergeError: λ is out of range, the models or ``model`` differ in architecture, or a state shares
            its memory with ``model``. In the latter cases the model may be overwritten in part.
    """
    if not 0 <= lam <= 1:
        raise MergeError(f"lam is {lam!r}; it must be between 0 (model b) and 1 (model a)")
    targets: dict[str, Tensor] = model.state_dict()
    nothing = torch.empty(0)
    check_same_architecture(dict.fromkeys(a, nothing), dict.fromkeys(b, nothing))
    check_same_architecture(dict.fromkeys(a, nothing), dict.fromkeys(targets, nothing), "the model to overwrite")
    for name, target in targets.items():
        _write(name, target, a[name], b[name], lam)


def _write(name: str, target: Tensor, one: Tensor, other: Tensor, lam: float) -> None:
    check_same_architecture({name: one}, {name: other})
    if one.shape != target.shape:  # its dtype and device may differ, as for load_state_dict
        raise MergeError(
            f"the model to overwrite is of another architecture: {name} is {tuple(target.shape)}, "
            f"the first model's is {tuple(one.shape)}; build it with the width of the checkpoints"
        )
    if target.numel() and target.data_ptr() in (one.data_ptr(), other.data_ptr()):
        raise MergeError(f"{name} of a state is the overwritten model's own; merge into a third model")
    if lam == 1 or not (one.dtype.is_floating_point or one.dtype.is_complex):
        target.copy_(one)
    elif lam == 0:
        target.copy_(other)
    elif one.dtype == wide_type(one.dtype) == target.dtype and one.device == target.device:
        torch.mul(one, lam, out=target).add_(other, alpha=1 - lam)
    else:
        target.copy_(weighted_sum([one, other], [lam, 1 - lam], one))


def interpolation_path(
    model: nn.Module,
    a: State,
    b: State,
    lams: Sequence[float],
    inputs: Inputs,
    known: Mapping[float, Tensor] | None = None,
    *,
    reset: bool = True,
) -> tuple[list[Evaluation], list[Tensor]]:
    """Evaluate θ(λ) for every λ; BatchNorm statistics are reset except at the endpoints.

    Args:
        model: a module of the architecture, overwritten.
        a: state dict of model a (λ = 1); it may read its tensors lazily.
        b: state dict of model b (λ = 0), likewise.
        lams: points in [0, 1].
        inputs: test images, and training images for the reset.
        known: logits (M, classes) already at hand, by λ; these are not computed again.
        reset: whether BatchNorm statistics are reset; if not, they are interpolated as the weights are.

    Returns:
        One evaluation and one tensor of logits (M, classes) per λ.
    """
    logits = logits_along(model, a, b, lams, inputs, known or {}, reset=reset)
    return [each.evaluation for each in judged(logits, inputs)], logits


def judged(logits: Sequence[Tensor], inputs: Inputs) -> list[Judged]:
    """What each of some logits (M, classes) says of the test images."""
    return judge_all(torch.stack([double(each) for each in logits]), inputs.labels) if logits else []


def logits_along(
    model: nn.Module,
    a: State,
    b: State,
    lams: Sequence[float],
    inputs: Inputs,
    known: Mapping[float, Tensor],
    *,
    reset: bool = True,
) -> list[Tensor]:
    """Logits (M, classes) for every λ of ``lams``; arguments are those of `interpolation_path`."""
    found = dict(known)
    missing = [lam for lam in dict.fromkeys(lams) if lam not in found]
    inner = [lam for lam in missing if 0 < lam < 1]
    layer = None
    if inner and not untracked_norms(model):  # those see how a batch is cut, which answering from memory changes
        load_interpolated(model, a, b, 1)
        layer = find_first_layer(model.eval(), inputs.examples(PROBED))
    path = _ReplayedPath(model, a, b, inputs, layer, missing, reset=reset) if layer is not None else None
    if path is not None and path.pays:
        found |= path.logits()
        return [found[lam] for lam in lams]
    for lam in missing:
        load_interpolated(model, a, b, lam)
        if reset and lam in inner:
            reset_bn_stats(model, inputs.train_batches(BN_IMAGES))
        found[lam] = logits_of(model, inputs)
    return [found[lam] for lam in lams]


class _ReplayedPath:
    """A path on which the first layer runs for the endpoints only.

    For a fixed input its pre-activations at λ are λ those of a + (1-λ) those of b. The images are taken a
    chunk at a time, for every λ in turn, so that the pre-activations held stay within `KEPT_BYTES`.

    Args:
        model: overwritten.
        a: state of model a.
        b: state of model b.
        inputs: test and training images.
        layer: the model's first layer.
        lams: the points wanted, at least one of them between the endpoints.
        reset: whether BatchNorm statistics are reset.
    """

    def __init__(
        self,
        model: nn.Module,
        a: State,
        b: State,
        inputs: Inputs,
        layer: FirstLayer,
        lams: Sequence[float],
        *,
        reset: bool = True,
    ) -> None:
        self.model, self.a, self.b, self.inputs, self.layer, self.lams = model, a, b, inputs, layer, lams
        self.inner = [lam for lam in lams if 0 < lam < 1]
        example = inputs.examples(1)[0]
        self.shape = example.shape
        per_image = (2 * layer.outputs + example.numel()) * example.element_size()
        self.chunk = max(1, KEPT_BYTES // per_image)
        self.resets = reset and has_bn(model)
        trained = min(BN_IMAGES, inputs.train_count) if self.resets else 0
        # The reset needs all its images in a row, so they are kept as a whole or not at all.
        self.kept_training = trained if trained * per_image <= KEPT_BYTES else 0

    @property
    def pays(self) -> bool:
        """Whether less time goes into interpolating than into running the layer for every λ."""
        test, layer = len(self.inputs.labels), self.layer
        inner, endpoints = len(self.inner), len(self.lams) - len(self.inner)
        chunks = -(-test // self.chunk) + (self.kept_training > 0)
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        images = test + self.kept_training
        saved = layer.own_macs * (inner * images - (2 - endpoints) * test - 2 * self.kept_training)
        return saved > NUMBER_COST * (inner * layer.outputs * images + (inner + 2) * chunks * parameters)

    @torch.no_grad()
    def logits(self) -> dict[float, Tensor]:
        """Logits (M, classes) by λ."""
        self.model.eval()
        statistics = self._reset() if self.resets else {}
        parts: dict[float, list[Tensor]] = {lam: [] for lam in self.lams}
        batches = self.inputs.test_batches()
        while images := self._chunk(batches):
            ends = [_joined(self._endpoint(lam, images, parts.get(lam))) for lam in (0.0, 1.0)]
            for lam in self.inner:
                load_interpolated(self.model, self.a, self.b, lam)
                if statistics:
                    write_bn_stats(self.model, statistics[lam])
                with answering(self.layer.module) as replay:
                    parts[lam] += map(self.model, replay(_between(ends, lam), self.shape))
            del ends  # before the next chunk's are made
        return {lam: torch.cat(each) for lam, each in parts.items()}

    def _chunk(self, batches: Iterator[Tensor]) -> list[Tensor]:
        """The next batches, as many as may be held; at least one, unless there is none left."""
        first = next(batches, None)
        return [] if first is None else [first, *islice(batches, max(0, self.chunk // len(first) - 1))]

    def _reset(self) -> dict[float, list[Tensor]]:
        """BatchNorm statistics of every point between the endpoints."""
        found = {}
        ends = []
        if self.kept_training:
            ends = [self._endpoint(lam, self.inputs.train_batches(BN_IMAGES)) for lam in (0.0, 1.0)]
        for lam in self.inner:
            load_interpolated(self.model, self.a, self.b, lam)
            if ends:
                with answering(self.layer.module) as replay:
                    reset_bn_stats(self.model, replay(_between(ends, lam), self.shape))
            else:
                reset_bn_stats(self.model, self.inputs.train_batches(BN_IMAGES))
            found[lam] = read_bn_stats(self.model)
        return found

    def _endpoint(self, lam: float, images: Iterable[Tensor], logits: list[Tensor] | None = None) -> list[Tensor]:
        """The first layer's answers at an endpoint; with ``logits``, the whole net runs and adds its own there."""
        load_interpolated(self.model, self.a, self.b, lam)
        found = []
        for batch in images:
            if logits is None:
                found.append(self.layer.respond(batch))
            else:
                response, output = self.layer.respond_within(self.model, batch)
                found.append(response)
                logits.append(output)
        return found


def _joined(responses: Sequence[Tensor]) -> list[Tensor]:
    """The same in fewer tensors, of at least `REPLAYED` numbers where there are as many."""
    size = -(-REPLAYED // responses[0].numel())
    if size == 1:
        return list(responses)
    return [torch.cat(list(responses[start : start + size])) for start in range(0, len(responses), size)]


def _between(ends: Sequence[Sequence[Tensor]], lam: float) -> Iterator[Tensor]:
    for at_b, at_a in zip(*ends, strict=True):
        yield torch.lerp(at_b, at_a, lam)


def measure_path(
    model: nn.Module,
    a: State,
    b: State,
    lams: Sequence[float],
    inputs: Inputs,
    known: Mapping[float, Tensor] | None = None,
) -> dict[str, Any]:
    """JSON-ready record of a path from λ = 0 to 1, see `lmc.measuring.path_record.path_record`.

    Arguments are those of `interpolation_path`.

    Example:
        >>> from pathlib import Path
        >>> from lmc import build, load_dataset
        >>> from lmc.measuring.inputs import HeldInputs
        >>> inputs = HeldInputs.of(load_dataset("digits", Path("data")), None, "cpu")
        >>> a, model = (build("mlp", 1 / 64, (1, 8, 8), 10) for _ in range(2))
        >>> found = measure_path(model, a.state_dict(), a.state_dict(), [0.0, 0.5, 1.0], inputs)
        >>> found["barriers"]["loss_barrier_midpoint"]  # a model merges with itself
        0.0
    """
    logits = logits_along(model, a, b, lams, inputs, known or {})
    *path, ensemble = judged([*logits, mean_logits(logits[-1], logits[0])], inputs)
    return path_record(lams, path, ensemble)
