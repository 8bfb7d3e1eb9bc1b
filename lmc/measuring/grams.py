"""Gram matrices of the outputs of a merged model and of three models, layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.measuring.endpoints import Endpoint
from lmc.measuring.inputs import Inputs, first_batches
from lmc.measuring.layers import OUTPUT, check_alike
from lmc.measuring.paths import BN_IMAGES, load_interpolated
from lmc.measuring.tapping import Seeing
from lmc.merging import reset_bn_stats
from lmc.precision import double

_AT_ONCE = 2**21
"""Numbers held in float64 at once, unless one input has more."""


@torch.no_grad()
def measure_layer_fit(
    models: Sequence[Endpoint], spare: nn.Module, lam: float, inputs: Inputs, limit: int | None = None
) -> dict[str, Any]:
    """Gram matrices of every layer's output in the merge of models a and b, in a, in b and in a third model c.

    Args:
        models: a, b and c.
        spare: a network of their architecture, overwritten with θ(λ) of a and b.
        lam: λ, the weight of model a.
        inputs: test images, and training images for the BatchNorm reset.
        limit: layers are measured on the first ``limit`` test inputs, rounded up to whole batches.

    Returns:
        A JSON-ready record, ``accuracies`` of the models, ``lam``, and ``grams``: for each activation's output in
        order, then the logits: ``raw`` and ``centred``, ten numbers each, see `Gram` and
        `lmc.measuring.layer_fit.MEMBERS`.

    Raises:
        MergeError: the models run different layers, or something is not finite.
    """
    a, b, _ = models
    accuracies = [each.judged().evaluation.accuracy for each in models]
    load_interpolated(spare, a.network.state_dict(), b.network.state_dict(), lam)
    reset_bn_stats(spare, inputs.train_batches(BN_IMAGES))
    grams: dict[str, Gram] = defaultdict(Gram)
    seeing = Seeing(spare)
    for index, batch in enumerate(first_batches(inputs.test_batches(), limit)):
        seen = [seeing(batch), *(model.see(index, batch) for model in models)]
        check_alike([each.tapped for each in seen])
        for name in seen[0].tapped.activations:
            grams[name].add([each.tapped.activations[name].after for each in seen])
        grams[OUTPUT].add([each.output for each in seen], over_classes=True)
    return {"accuracies": accuracies, "lam": lam, "grams": _records(grams)}


class Gram:
    """The Gram matrix of k models' outputs, Σ over units of f_i f_j, averaged over inputs; gathered batch by batch.

    ``raw`` is that of the outputs as they are. For ``centred`` each unit's mean over the inputs is taken off, and
    before, where units are classes, each input's mean over the classes, which no prediction depends on.
    """

    def __init__(self) -> None:
        self._inputs = 0
        self._raw: list[Tensor] = []
        self._products: list[Tensor] = []
        self._sums: list[Tensor] = []

    def add(self, outputs: Sequence[Tensor], *, over_classes: bool = False) -> None:
        """Add a batch.

        Args:
            outputs: of every model, (N, ...) each.
            over_classes: whether the units are classes.
        """
        self._inputs += len(outputs[0])
        size = max(1, _AT_ONCE * len(outputs[0]) // max(1, len(outputs) * outputs[0].numel()))
        for rows in zip(*(torch.split(each.flatten(1), size) for each in outputs), strict=True):
            stack = double(torch.stack(rows))
            self._raw.append(_products(stack))
            if over_classes:
                stack = stack - stack.mean(-1, keepdim=True)
                self._products.append(_products(stack))
            else:
                self._products.append(self._raw[-1])
            self._sums = [stack.sum(1) + sum(self._sums)]

    @property
    def raw(self) -> Tensor:
        """float64 (k, k)."""
        return torch.stack(self._raw).sum(0) / self._inputs

    @property
    def centred(self) -> Tensor:
        """float64 (k, k)."""
        means = self._sums[0] / self._inputs
        return torch.stack(self._products).sum(0) / self._inputs - means @ means.T


def _products(stack: Tensor) -> Tensor:
    """⟨f_i, f_j⟩ over inputs and units of (k, N, units)."""
    flat = stack.flatten(1)
    return flat @ flat.T


def _records(grams: Mapping[str, Gram]) -> dict[str, dict[str, list[float]]]:
    found = {}
    for name, gram in grams.items():
        both = {"raw": gram.raw, "centred": gram.centred}
        if not all(torch.isfinite(each).all() for each in both.values()):
            raise MergeError(f"the outputs of {name} are NaN or infinite; a model diverged, train it again")
        found[name] = {kind: each[*torch.triu_indices(*each.shape)].tolist() for kind, each in both.items()}
    return found
