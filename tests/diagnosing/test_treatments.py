"""What must not decide a verdict does not: statistics, scales, factors, whole numbers; and NaN is a failed merge."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from diagnosed import digits, fitted, mlp, permuted_copy
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from lmc.diagnosing.conclusion import AFTER_RESCALING, AFTER_RESET, AS_THEY_ARE, NOT_AT_ALL
from lmc.diagnosing.diagnose import diagnose
from lmc.diagnosing.effective import effective_copy, fold_masks, make_effective, private_copy
from lmc.errors import MergeError

TRAIN, TEST = digits()
INPUTS, LABELS = TEST
NET = fitted(lambda: mlp(24), 0)
NORMED = fitted(lambda: mlp(24, norm="bn"), 0)


def norms_of(net: nn.Module) -> list[nn.BatchNorm1d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]


def test_a_merge_of_stale_models_is_held_to_what_they_are_after_a_reset() -> None:
    stale = copy.deepcopy(NORMED)
    for norm in norms_of(stale):
        norm.reset_running_stats()
    found = diagnose(stale, copy.deepcopy(stale), TEST, train_data=TRAIN)
    plain, reset = found.candidates
    assert found.verdict == AFTER_RESET
    assert plain.merged == found.models[0]
    lost = found.reset_models[0].metric - plain.merged.metric
    assert plain.excess.metric == pytest.approx(lost)
    assert lost > 0.2
    assert reset.excess.metric == 0
    assert "of the models with their BatchNorm statistics reset (fails" in found.conclusion.reasons[1]
    assert found.paths["BN reset"].points[0] == found.reset_models[1]
    assert found.paths["BN reset"].points[-1] == found.reset_models[0]


def test_shifted_inputs_do_not_make_a_merge_look_good() -> None:
    """The models guess on shifted inputs; a merge after a reset does better, and the models reset do far better."""
    a, b = (fitted(lambda: mlp(12, norm="bn"), seed) for seed in (0, 1))
    shifted = TEST[0] * 0.2 - 5, TEST[1]
    found = diagnose(a, b, shifted, permutation="never", lams=(0.5,))
    reset = next(each for each in found.candidates if each.name == "BN reset")
    assert reset.merged.metric > max(model.metric for model in found.models) + 0.05
    best = sum(model.metric for model in found.reset_models) / 2
    assert best > reset.merged.metric + 0.02
    assert found.verdict == NOT_AT_ALL


def scaled_before_norms(factors: Tensor) -> nn.Module:
    other = copy.deepcopy(NORMED)
    with torch.no_grad():
        for layer, norm in (
            (other.get_submodule("0"), norms_of(other)[0]),
            (other.get_submodule("3"), norms_of(other)[1]),
        ):
            layer.weight.mul_(factors[:, None])  # type: ignore[operator, union-attr]
            layer.bias.mul_(factors)  # type: ignore[operator, union-attr]
            norm.running_mean.mul_(factors)  # type: ignore[union-attr]
            norm.running_var.copy_((norm.running_var + norm.eps) * factors**2 - norm.eps)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(other(TEST[0]), NORMED(TEST[0]), rtol=1e-3, atol=1e-3)
    return other


def test_a_layer_that_is_larger_before_a_norm_is_brought_to_one_size() -> None:
    found = diagnose(NORMED, scaled_before_norms(torch.full((24,), 9.0)), TEST, train_data=TRAIN, lams=(0.5,))
    assert found.verdict == AS_THEY_ARE
    assert "ignores the scale of layers 0, 3" in found.conclusion.reasons[0]
    assert abs(found.candidates[0].excess.loss) < 1e-4
    assert found.merged is not None
    torch.testing.assert_close(found.merged["0.weight"], 3 * NORMED.state_dict()["0.weight"])  # the geometric mean
    same = diagnose(NORMED, copy.deepcopy(NORMED), TEST, train_data=TRAIN, lams=(0.5,))
    assert not any("ignores the scale" in reason for reason in same.conclusion.reasons)


def test_channels_rescaled_before_a_norm_or_behind_a_relu_need_rescaling_not_permutation() -> None:
    torch.manual_seed(1)
    found = diagnose(NORMED, scaled_before_norms(torch.exp(torch.randn(24))), TEST, train_data=TRAIN, lams=(0.5,))
    assert found.verdict in (AS_THEY_ARE, AFTER_RESCALING)
    other = copy.deepcopy(NET)
    factors = torch.exp(2 * torch.randn(24))
    with torch.no_grad():
        other.get_submodule("0").weight.mul_(factors[:, None])  # type: ignore[operator, union-attr]
        other.get_submodule("0").bias.mul_(factors)  # type: ignore[operator, union-attr]
        other.get_submodule("2").weight.div_(factors)  # type: ignore[operator, union-attr]
    found = diagnose(NET, other, TEST, lams=(0.5,))
    assert found.verdict == AFTER_RESCALING
    assert found.candidates[0].excess.loss > 0.5
    assert "rescaling, not permutation, is missing" in found.conclusion.sentence
    assert found.merged is not None
    torch.testing.assert_close(dict(found.merged), dict(NET.state_dict()), rtol=1e-4, atol=1e-5)


def factored(kind: str) -> nn.Sequential:
    net = mlp(24)
    for index in (0, 2):
        layer = net[index]
        if kind == "pruned":
            prune.random_unstructured(layer, "weight", 0.3)
        elif kind == "low rank":
            net[index] = Adapted(layer)  # type: ignore[arg-type]
        else:
            wrap = {
                "spectral": parametrizations.spectral_norm,
                "weight": parametrizations.weight_norm,
                "old spectral": spectral_norm,
                "old weight": weight_norm,
            }
            wrap[kind](layer)
    return net


class Adapted(nn.Module):
    """A layer with a low-rank update, as fine-tuning writes it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Parameter(torch.randn(3, base.in_features) / 8)
        self.lora_b = nn.Parameter(torch.randn(base.out_features, 3) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * x @ self.lora_a.T @ self.lora_b.T  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["spectral", "weight", "old spectral", "old weight", "pruned", "low rank"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_kept_as_factors_are_averaged_as_the_layers_use_them(kind: str) -> None:
    nets = [fitted(lambda: factored(kind), seed, 40) for seed in (0, 1)]
    used = []
    for net in nets:
        outputs = net(TEST[0])
        plain = private_copy(net)
        assert make_effective(plain) == ("0.weight", "2.weight")
        torch.testing.assert_close(plain(TEST[0]), outputs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(net(TEST[0]), outputs)  # the reader's own is left as it was
        used.append(plain.state_dict())
    found = diagnose(nets[0], nets[1], TEST, permutation="never", lams=(0.5,))
    mean = mlp(24)
    mean.load_state_dict({name: (value + used[1][name]) / 2 for name, value in used[0].items()})
    loss = F.cross_entropy(mean(TEST[0]), TEST[1]).item()
    assert found.candidates[0].merged.loss == pytest.approx(loss, rel=1e-4)
    assert any("not factor by factor: 0.weight, 2.weight" in note for note in found.notes)
    effective_copy(nets[0]).load_state_dict(mean.state_dict())


def test_factors_of_a_layer_that_is_not_linear_are_refused_by_name() -> None:
    class Gated(Adapted):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    def made() -> nn.Module:
        return nn.Sequential(Gated(nn.Linear(64, 10)))

    with pytest.raises(
        MergeError, match=r"layer '0' keeps a weight as the factors lora_a, lora_b and is no linear layer"
    ):
        diagnose(made(), made(), TEST)


def test_singular_vectors_of_opposite_sign_merge() -> None:
    a = fitted(lambda: factored("spectral"), 0)
    b = copy.deepcopy(a)
    for index in ("0", "2"):
        norm = b.get_submodule(f"{index}.parametrizations.weight.0")
        norm._u.neg_()  # type: ignore[operator, union-attr]
        norm._v.neg_()  # type: ignore[operator, union-attr]
    found = diagnose(a, b, TEST, lams=(0.5,))
    assert found.verdict == AS_THEY_ARE
    assert abs(found.candidates[0].excess.loss) < 1e-6


class Divided(nn.Module):
    """Divides by the magnitude of a parameter, which may cancel in a mean."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.net = copy.deepcopy(NET)
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) / self.by.abs()  # type: ignore[no-any-return]


def test_a_merge_of_nan_or_infinity_is_a_failed_candidate() -> None:
    found = diagnose(Divided(1.0), Divided(-1.0), TEST)
    assert found.verdict == NOT_AT_ALL
    merged = found.candidates[0].merged
    assert (merged.metric, merged.finite) == (0.0, False)
    assert "its outputs are NaN or infinite, though those of the models are not" in found.conclusion.reasons[0]
    assert found.to_json()["candidates"][0]["merged"]["loss"] is None
    assert any("+inf" in line for line in found.lines())


class Quantised(nn.Module):
    """A first layer in int8, and counters."""

    def __init__(self, net: nn.Sequential, seen: int = 0) -> None:
        super().__init__()
        self.net = net
        scale = net[0].weight.detach().abs().max() / 127
        self.register_buffer("codes", (net[0].weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("seen", torch.tensor(seen))

    def forward(self, x: Tensor) -> Tensor:
        return self.net[1:](F.linear(x, self.codes * self.scale, self.net[0].bias))  # type: ignore[no-any-return, operator, arg-type]


def test_whole_numbers_that_differ_are_refused_by_name_unless_they_count() -> None:
    other = fitted(lambda: mlp(24), 1)
    with pytest.raises(
        MergeError, match=r"codes is int8 \(24, 64\) and differs between model 1 and model 2.*dequantise"
    ):
        diagnose(Quantised(NET), Quantised(other), TEST)  # type: ignore[arg-type]
    found = diagnose(Quantised(NET, 3), Quantised(NET, 5), TEST)  # type: ignore[arg-type]
    assert found.verdict == AS_THEY_ARE
    assert "counters are model 1's: seen" in found.notes


def test_a_single_whole_number_that_acts_is_no_counter() -> None:
    class Shifted(Quantised):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.seen  # type: ignore[no-any-return, operator]

    with pytest.raises(MergeError, match=r"seen is int64 \(\) and differs"):
        diagnose(Shifted(NET, 1), Shifted(NET, 2), TEST)  # type: ignore[arg-type]


def test_layers_that_torch_quantised_are_dequantised() -> None:
    nets = [
        torch.ao.quantization.quantize_dynamic(copy.deepcopy(NET), {nn.Linear}, dtype=torch.qint8) for _ in range(2)
    ]
    found = diagnose(nets[0], nets[1], TEST, lams=(0.5,))
    assert found.verdict == AS_THEY_ARE
    assert "quantised layers were dequantised and measured so: 0, 2, 4" in found.notes
    codes = NET.state_dict()["0.weight"]
    assert found.merged is not None
    assert float((found.merged["0.weight"] - codes).abs().max()) <= float(codes.abs().max()) / 127


class MaskedLinear(nn.Linear):
    """A layer that multiplies its weight by a mask of its own making."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kind: torch.dtype) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", (torch.rand(outputs, inputs) > 0.5).to(kind))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.uint8])
def test_masks_of_a_readers_own_are_multiplied_into_their_weights(kind: torch.dtype) -> None:
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(nn.Sequential(MaskedLinear(64, 8, kind), nn.ReLU(), nn.Linear(8, 10)).eval())
    copies = copy.deepcopy(nets)
    assert fold_masks(copies, INPUTS[:4]) == ["0.mask"]
    for net, folded in zip(nets, copies, strict=True):
        torch.testing.assert_close(folded(INPUTS), net(INPUTS))
        masked, layer = net[0], folded[0]
        assert isinstance(masked, MaskedLinear)
        assert isinstance(layer, MaskedLinear)
        torch.testing.assert_close(layer.weight, masked.weight * masked.mask)
        assert bool((layer.mask == 1).all())
    found = diagnose(nets[0], nets[1], (INPUTS, LABELS), permutation="never", lams=(0.5,))
    assert any("masks were multiplied into their weights" in note for note in found.notes)


def test_a_buffer_that_masks_nothing_is_left_alone() -> None:
    class Shifted(nn.Linear):
        def __init__(self, seed: int) -> None:
            super().__init__(64, 10)
            shift = torch.rand(10, 64, generator=torch.Generator().manual_seed(seed)) > 0.5
            self.register_buffer("shift", shift.float())

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight + self.get_buffer("shift"), self.bias)

    nets: list[nn.Module] = [Shifted(0), Shifted(1)]
    states = copy.deepcopy([net.state_dict() for net in nets])
    assert fold_masks(nets, INPUTS[:4]) == []
    for net, state in zip(nets, states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with pytest.raises(MergeError, match="shift looks like a mask of weight and differs between the models"):
        fold_masks(nets, None)


class Shuffled(nn.Module):
    """Every channel lies in four places behind the shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(4, 8, 3)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.wide(x.view(-1, 1, 8, 8)), 2).relu()
        found: Tensor = self.head(self.narrow(x).relu().mean((2, 3)))
        return found


def test_units_that_hold_several_places_are_permuted_and_not_rescaled() -> None:
    net = fitted(Shuffled, 0)
    other = permuted_copy(net, INPUTS)
    found = diagnose(net, other, (INPUTS, LABELS), lams=(0.5,))
    assert found.verdict == "only with permutation"
    assert found.conclusion.candidate == "permuted"


class _Sparse(nn.Linear):
    def __init__(self) -> None:
        super().__init__(64, 10)
        self.register_buffer("graph", torch.eye(3).to_sparse())


def _quantised(make: Callable[[], nn.Module], *kinds: type[nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = torch.ao.quantization.quantize_dynamic(make(), set(kinds))
        return found


def _trained_for_quantisation() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = mlp(8).train()
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
        found: nn.Module = torch.ao.quantization.prepare_qat(net)
        return found.eval()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(10)), "0.weight of model 1 has no shape yet, as its layer is lazy"),
        (_Sparse, "graph of model 1 is a sparse_coo tensor; make it dense"),
        (lambda: _quantised(lambda: nn.Sequential(nn.LSTM(4, 4)), nn.LSTM), "layer '0' is a quantised LSTM"),
        (_trained_for_quantisation, "of quantisation-aware training, whose ranges are of its own model"),
    ],
    ids=["lazy", "sparse", "lstm", "aware"],
)
def test_layers_without_weights_to_average_are_refused_by_name(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(MergeError, match=message):
        diagnose(make(), make(), (INPUTS, LABELS))
