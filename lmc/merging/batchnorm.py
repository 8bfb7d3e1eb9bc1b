"""Running statistics of a merged model, recomputed on training data (Appendix B.1)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lmc.errors import MergeError


def has_bn(model: nn.Module) -> bool:
    """Whether ``model`` holds a BatchNorm with running statistics."""
    return any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules())


def untracked_norms(model: nn.Module) -> list[str]:
    """Names of the BatchNorm layers that keep no running statistics, which cannot be reset."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and (not module.track_running_stats or module.running_mean is None)
    ]


@torch.no_grad()
def reset_bn_stats(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Recompute every BatchNorm's running mean and variance in one pass.

    The statistics are the cumulative mean over the batches of each batch's mean and (unbiased) variance, as PyTorch
    computes it with ``momentum=None`` (Jordan et al., ICLR 2023), but without making the host wait for the device once
    per layer and batch. Doing it twice gives the same statistics as doing it once. Mode and momentum of every module
    are kept; after an error so are the statistics.

    Args:
        model: any module; nothing happens where it has no BatchNorm.
        batches: model inputs, float (N, ...), N >= 2 for layers without spatial extent.

    Returns:
        The number of batches seen.

    Raises:
        MergeError: a BatchNorm keeps no running statistics, there was no batch, or one gives a
            BatchNorm a single value per channel.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(1))
        >>> reset_bn_stats(net, [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])])
        2
        >>> net[0].running_mean
        tensor([4.])
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return 0
    if untracked := untracked_norms(model):
        raise MergeError(
            f"the BatchNorm layer {untracked[0]!r} keeps no statistics to reset (track_running_stats=False); "
            "build the model with track_running_stats=True, or merge it without a reset"
        )
    modes = {module: module.training for module in model.modules()}
    momenta = {layer: layer.momentum for layer in layers}
    before = read_bn_stats(model)
    guards = [layer.register_forward_pre_hook(_CumulativeMean()) for layer in layers]
    seen = 0
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
        for batch in batches:
            model(batch)
            seen += 1
        if not seen:
            raise MergeError("no batch to reset the BatchNorm statistics on; pass training data")
    except BaseException:
        write_bn_stats(model, before)
        raise
    finally:
        for guard in guards:
            guard.remove()
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return seen


def read_bn_stats(model: nn.Module) -> list[Tensor]:
    """Copies of every BatchNorm's running statistics and count of batches."""
    return [buffer.clone() for buffer in _statistics(model)]


@torch.no_grad()
def write_bn_stats(model: nn.Module, statistics: list[Tensor]) -> None:
    """Put back what `read_bn_stats` read, of this model or another of its architecture."""
    for buffer, value in zip(_statistics(model), statistics, strict=True):
        buffer.copy_(value)


def _statistics(model: nn.Module) -> list[Tensor]:
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]


class _CumulativeMean:
    """Before each call of a layer, sets the momentum that makes its statistics the mean over all calls so far."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Refuse a batch of single values: torch's own error speaks of training and names no remedy."""
        assert isinstance(layer, _BatchNorm)
        shape = inputs[0].shape
        if len(shape) > 1 and inputs[0].numel() == shape[1]:
            raise MergeError(
                f"a batch of shape {tuple(shape)} gives {layer} one value per channel and so no variance; "
                "reset on batches of two images or more, without a last batch of one"
            )
        self._calls += 1
        layer.momentum = 1 / self._calls
