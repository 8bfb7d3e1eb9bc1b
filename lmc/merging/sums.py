"""Sum merging: hidden layers are summed over the models, the last layer is averaged.

A mean shrinks what every layer gives, so that its logits need an inverse temperature. A sum does not: where the models
share no active channel, each of its layers gives Σ_i f_ℓ(θ_i), biases included, and its logits are the models' mean
(`lmc.theory` proves it). It is the weight rule of a concatenated ensemble, overlaid on the width of one model.

What becomes of each kind of layer where that holds, z = Σ_i z_i with no channel active in two models:

- *Linear, convolution, embedding*, added constants such as positions: weights and biases are summed. Exact.
- *Skip connections*: z + g(z) = Σ_i (z_i + g_i(z_i)). Exact, where a mean scales z by λ and a branch g of n layers by
  λ^(n+1). The raw input must pass a layer first: the sum has it once, the models k times.
- *BatchNorm*: weight, bias, running means and variances are summed. Exact where a channel is silent in all models but
  one; the variance of a channel that several models use is exact where they are uncorrelated. It needs no data;
  resetting the statistics afterwards (`lmc.merging.batchnorm`) makes them exact whatever the models share.
- *LayerNorm, RMSNorm, GroupNorm over several channels* divide by the norm over all channels, of all models together:
  s² = Σ_i s_i² where the models' means over channels are 0. Their weights are multiplied by √k, the bias is not.
  Exact where the means are 0 and the s_i equal, which a norm of the models cannot be told from its weights.
- *PReLU*: the slope is averaged; it is no map that could be summed.
- *Last layer*: averaged with weights α, so that the logits are Σ_i α_i f_L(θ_i).
- *Tied weights*: two layers that share a tensor and are both summed stay tied. A last layer that shares its tensor
  with a hidden layer would have to be averaged and summed at once, and is refused.
- *Gates and attention*: a product needs both its factors in the same model's channels; sigmoid(0) is not 0, so
  gates leak. Attention is exact where no head is active in two models, as a silent head's values are 0.

In a ReLU net without biases and normalisation a sum is a mean whose logits are multiplied by k^(L-1), and where all
layers are normalised and reset, one by k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmc.errors import MergeError
from lmc.merging.permutation_spec import check_example, evaluating
from lmc.merging.weights import State, check_alike, check_finite, weighted_sum
from lmc.shares import checked_shares


@dataclass(frozen=True)
class SumParts:
    """What sum merging does not simply sum, by name in the state dict.

    Args:
        averaged: the last layer's tensors, and slopes of PReLU.
        rescaled: weights of norms over several channels, whose sum is multiplied by √k.
    """

    averaged: frozenset[str]
    rescaled: frozenset[str] = frozenset()


def sum_merge(models: Sequence[State], parts: SumParts, weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Hidden tensors Σ_i θ_i, those of the last layer Σ_i α_i θ_i.

    Args:
        models: k >= 2 state dicts with the same names, shapes and dtypes.
        parts: see `sum_parts`.
        weights: α_1 .. α_k, positive and summing to one; ``None`` means 1/k each.

    Returns:
        A new state dict, accumulated in float32 or wider and rounded once; integer buffers are the first model's.
        Running means and variances of BatchNorm are summed.

    Raises:
        MergeError: fewer than two models, weights that do not fit, models that differ in architecture, a name of
            ``parts`` that they lack, or NaN in what they give.

    Example:
        >>> import torch
        >>> parts = SumParts(frozenset({"head.weight"}))
        >>> states = [{"weight": torch.tensor([value]), "head.weight": torch.tensor([value])} for value in (1.0, 2.0)]
        >>> sum_merge(states, parts)
        {'weight': tensor([3.]), 'head.weight': tensor([1.5000])}
    """
    shares = _positive_shares(weights, len(models))
    check_alike(models)
    if unknown := sorted((parts.averaged | parts.rescaled) - set(models[0])):
        raise MergeError(f"the models have no {unknown[0]!r}; find the parts of their own module with sum_parts")
    ones, root = [1.0] * len(models), [math.sqrt(len(models))] * len(models)
    merged = {}
    for name, first in models[0].items():
        factors = shares if name in parts.averaged else root if name in parts.rescaled else ones
        merged[name] = weighted_sum([model[name] for model in models], factors, first)
    check_finite(merged, models)
    return merged


def _positive_shares(weights: Sequence[float] | None, models: int) -> list[float]:
    if models < 2:
        raise MergeError(f"{models or 'no'} model cannot be summed; pass two or more")
    shares = checked_shares(weights, models)
    for index, share in enumerate(shares):
        if not share > 0:
            raise MergeError(
                f"the weight of model {index} is {share:g}, but a sum holds its hidden layers whatever its weight; "
                "leave the model out"
            )
    return shares


def sum_parts(model: nn.Module, example_input: Tensor | None = None, *, head: str | None = None) -> SumParts:
    """Find what sum merging does not simply sum.

    Args:
        model: a module of the architecture; mode, weights and buffers are left as they are.
        example_input: one input (N, ...), on which the last layer is looked for: the one whose output is the model's.
            Not needed where ``head`` is given.
        head: name of the last layer, for models that do something to its output.

    Raises:
        MergeError: the last layer cannot be found or is used twice, shares a tensor with another layer, or a norm
            over channels has no weight to take the factor.
    """
    name = _named(model, head) if head is not None else _find_last_layer(model, example_input)
    averaged = {f"{name}.{each}" if name else each for each, _ in model.get_submodule(name).named_parameters()}
    rescaled = set()
    for path, module in model.named_modules():
        if isinstance(module, nn.PReLU):
            averaged.add(f"{path}.weight".lstrip("."))
        elif _divides_by_all_channels(module):
            if getattr(module, "weight", None) is None:
                raise MergeError(
                    f"{path or 'the module'} is a {type(module).__name__} without a weight to multiply by the root of "
                    "the number of models; build the models with an affine norm"
                )
            rescaled.add(f"{path}.weight".lstrip("."))
    for names in _shared_names(model):
        inside = [each for each in names if each in averaged]
        if inside and len(inside) < len(names):
            other = next(each for each in names if each not in averaged)
            raise MergeError(
                f"{inside[0]} of the last layer and {other} share one tensor, which cannot be averaged and summed at "
                "once; give the last layer a copy of its own"
            )
    return SumParts(frozenset(averaged), frozenset(rescaled))


def _named(model: nn.Module, head: str) -> str:
    try:
        module = model.get_submodule(head)
    except AttributeError:
        found = [name for name, each in model.named_modules() if name and _owns_parameters(each)]
        raise MergeError(
            f"there is no layer {head!r}; name one of {', '.join(found[-6:]) or 'none, as there are no layers'}"
        ) from None
    if next(module.parameters(), None) is None:
        raise MergeError(
            f"layer {head!r} is a {type(module).__name__} without weights; name the last layer that has some"
        )
    return head


@torch.no_grad()
def _find_last_layer(model: nn.Module, example_input: Tensor | None) -> str:
    if example_input is None:
        raise MergeError("the last layer is unknown; pass one example input, or name the layer (head=...)")
    check_example(model, example_input)
    calls: list[str] = []
    last: list[Tensor] = []
    handles = []

    def noting(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(module: nn.Module, inputs: object, output: object) -> None:
            calls.append(name)
            last[:] = [output.clone()] if isinstance(output, Tensor) else []

        return note

    try:
        for name, module in model.named_modules():
            if _owns_parameters(module) and next(module.children(), None) is None:
                handles.append(module.register_forward_hook(noting(name)))
        with evaluating(model):
            try:
                output = model(example_input.clone())
            except Exception as error:  # the module's own code
                raise MergeError(f"{type(model).__name__} cannot run on the example input: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    name = calls[-1] if calls else ""
    if not last or not isinstance(output, Tensor) or not torch.equal(last[0].flatten(), output.flatten()):
        raise MergeError(
            f"the output of {type(model).__name__} is not that of its last layer with weights"
            f"{f', {name!r}' if name else ''}; name the layer that gives the logits (head=...)"
        )
    module = model.get_submodule(name)
    if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        raise MergeError(
            f"the last layer {name!r} is a {type(module).__name__}, of which no average is known to be the mean of the "
            "logits; only linear layers and convolutions can be averaged"
        )
    if calls.count(name) > 1:
        raise MergeError(
            f"the last layer {name!r} is used {calls.count(name)} times; give its last use its own weights"
        )
    return name


def _owns_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _divides_by_all_channels(module: nn.Module) -> bool:
    if isinstance(module, nn.GroupNorm):
        return module.num_groups < module.num_channels
    return isinstance(module, nn.LayerNorm | nn.RMSNorm)


def _shared_names(model: nn.Module) -> Iterator[list[str]]:
    """Names of the parameters that are one tensor, where there are several."""
    owners: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(tensor), []).append(name)
    yield from (names for names in owners.values() if len(names) > 1)
