"""Any task: what is measured is what a calculation by hand gives, and what a batch and an output are is recognised."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lmc.diagnosing.conclusion import AFTER_CALIBRATION, AS_THEY_ARE, NOT_AT_ALL, WITH_PERMUTATION
from lmc.diagnosing.diagnose import diagnose
from lmc.diagnosing.diagnosis import Diagnosis
from lmc.diagnosing.standard import Thresholds
from lmc.diagnosing.task import Metric
from lmc.errors import DataError, LmcError, SpecError
from lmc.merging import calibration_split, fit_inverse_temperature

COUNT = 60


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()


def near(net: nn.Module, size: float = 1e-3) -> nn.Module:
    other = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(5)
    for parameter in other.parameters():
        parameter.data += size * torch.randn(parameter.shape, generator=generator)
    return other


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def short(a: nn.Module, b: nn.Module, data: Any, **options: Any) -> Diagnosis:
    found = diagnose(a, b, data, **{"lams": (0.5,), "permutation": "never", **options})
    assert found.lines()
    assert found.to_json()
    return found


class Images(nn.Module):
    """Logits of five classes at every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Logits of seven classes at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(7, 8), nn.Linear(8, 8), nn.Linear(8, 7)

    def forward(self, input_ids: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.hidden(self.embedding(input_ids)).relu()
        return self.head(hidden if mask is None else hidden * mask[..., None])  # type: ignore[no-any-return]


def by_hand(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and cross-entropy of rows (n, classes), without those labelled -100."""
    kept = labels != -100
    right = (logits.argmax(-1) == labels)[kept].double().mean().item()
    return right, F.cross_entropy(logits[kept].double(), labels[kept]).item()


def test_a_segmentation_is_judged_pixel_by_pixel() -> None:
    net, inputs = seeded(Images), drawn(COUNT, 2, 6, 6)
    labels = net(inputs).argmax(1)
    labels[:, 0] = torch.randint(5, labels[:, 0].shape, generator=torch.Generator().manual_seed(2))
    labels[:, -1] = -100
    found = short(net, near(net), (inputs, labels))
    accuracy, loss = by_hand(net(inputs).movedim(1, -1).reshape(-1, 5), labels.flatten())
    assert found.models[0].metric == pytest.approx(accuracy)
    assert found.models[0].loss == pytest.approx(loss)
    assert found.verdict == AS_THEY_ARE
    assert found.beta is None
    assert found.models[0].beta is not None
    assert "(Judged by accuracy, at most 2 points less than the models" in found.conclusion.sentence


def test_the_inverse_temperature_of_dense_outputs_is_fitted_to_pixels_of_a_fifth_of_the_images() -> None:
    net, inputs = seeded(Images), drawn(COUNT, 2, 4, 4)
    labels = torch.distributions.Categorical(logits=3 * net(inputs).movedim(1, -1)).sample()
    found = short(net, near(net), (inputs, labels))
    fitted, judged = calibration_split(COUNT)
    rows = net(inputs).detach().movedim(1, -1).reshape(COUNT, 16, 5)
    mine = rows[fitted].flatten(0, 1), labels.reshape(COUNT, 16)[fitted].flatten()
    beta = fit_inverse_temperature(*mine, smoothing=1 / (len(mine[1]) + 2)).item()
    assert found.models[0].beta == pytest.approx(beta, rel=1e-5)
    calibrated = F.cross_entropy(
        beta * rows[judged].double().flatten(0, 1), labels.reshape(COUNT, 16)[judged].flatten()
    )
    assert found.models[0].calibrated_loss == pytest.approx(calibrated.item(), rel=1e-6)


def test_sequences_have_their_classes_last_and_leave_out_what_is_ignored() -> None:
    net = seeded(Tokens)
    tokens = torch.randint(7, (COUNT, 6), generator=torch.Generator().manual_seed(3))
    labels = net(tokens).argmax(-1)
    labels[:, 4:] = 9
    found = short(net, near(net), (tokens, labels), ignore_index=9)
    assert found.models[0].metric == 1.0
    shown = by_hand(net(tokens)[:, :4].reshape(-1, 7), labels[:, :4].flatten())
    assert found.models[0].loss == pytest.approx(shown[1])
    assert not found.task.shifted


def test_a_language_model_is_judged_by_the_next_token() -> None:
    net = seeded(Tokens)
    tokens = torch.randint(7, (COUNT, 6), generator=torch.Generator().manual_seed(3))
    labels = tokens.clone()
    labels[:, 5] = -100
    found = short(net, near(net), {"input_ids": tokens, "labels": labels})
    assert found.task.shifted
    accuracy, loss = by_hand(net(tokens)[:, :-1].reshape(-1, 7), labels[:, 1:].flatten())
    assert (found.models[0].metric, found.models[0].loss) == (pytest.approx(accuracy), pytest.approx(loss))


class Renamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Tokens()

    def forward(self, idx: Tensor) -> Tensor:
        found: Tensor = self.inner(idx)
        return found


def test_a_language_model_may_call_its_tokens_what_it_likes() -> None:
    net = seeded(Renamed)
    tokens = torch.randint(7, (COUNT, 6), generator=torch.Generator().manual_seed(3))
    found = short(net, near(net), {"idx": tokens, "labels": tokens})
    assert found.task.shifted
    accuracy, loss = by_hand(net(tokens)[:, :-1].reshape(-1, 7), tokens[:, 1:].flatten())
    assert (found.models[0].metric, found.models[0].loss) == (pytest.approx(accuracy), pytest.approx(loss))


def test_several_labels_have_a_sigmoid_each() -> None:
    net, inputs = seeded(lambda: nn.Sequential(nn.Linear(4, 3))), drawn(COUNT, 4)
    labels = (net(inputs) + 0.3 * drawn(COUNT, 3, seed=4) > 0).float()
    found = short(net, near(net), (inputs, labels))
    assert found.task.kind == "labels"
    logits = net(inputs).double()
    assert found.models[0].loss == pytest.approx(F.binary_cross_entropy_with_logits(logits, labels.double()).item())
    assert found.models[0].metric == pytest.approx(((logits > 0) == (labels > 0.5)).double().mean().item())
    assert found.models[0].beta is not None


@pytest.mark.parametrize("width", [0, 1, 3])
def test_a_regression_is_judged_by_its_variance(width: int) -> None:
    net, inputs = seeded(lambda: nn.Sequential(nn.Linear(4, max(1, width)))), drawn(COUNT, 4)
    labels = net(inputs) + 0.1 * drawn(COUNT, max(1, width), seed=4)
    labels = labels.detach()[:, 0] if width == 0 else labels.detach()
    found = short(net, near(net), (inputs, labels))
    outputs = net(inputs).reshape(labels.shape).double()
    error = F.mse_loss(outputs, labels.double()).item()
    spread = (labels.double() - labels.double().mean(0)).square().mean().item()
    assert found.models[0].loss == pytest.approx(error)
    assert found.models[0].metric == pytest.approx(1 - error / spread)
    assert (found.models[0].beta, found.candidates[0].excess.calibrated_loss) == (None, None)
    assert "R²" in found.conclusion.sentence
    assert found.verdict == AS_THEY_ARE
    assert short(net, near(net, 1.0), (inputs, labels)).verdict != AS_THEY_ARE


def absolute(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs[:, 0] - labels).abs()


def test_a_loss_and_a_metric_of_the_readers_own_are_told_in_their_unit() -> None:
    net, inputs = seeded(lambda: nn.Sequential(nn.Linear(4, 1))), drawn(COUNT, 4)
    labels = net(inputs).detach()[:, 0] + 1
    other = near(net, 1.0)
    error = Metric(absolute, name="error in metres", lower_is_better=True)
    found = short(
        net, other, (inputs, labels), loss=absolute, metric=error, thresholds=Thresholds(metric=0.3, loss=0.2)
    )
    assert found.models[0].metric == pytest.approx(1, abs=1e-5)
    mean = (net(inputs)[:, 0] + other(inputs)[:, 0]) / 2  # the mean of linear maps is the map of the mean
    assert found.candidates[0].merged.metric == pytest.approx((mean - labels).abs().mean().item(), rel=1e-5)
    assert (
        "error in metres, at most 0.3 more than the models, and the loss, at most 0.2 more" in found.conclusion.sentence
    )
    assert found.candidates[0].excess.metric == pytest.approx(
        found.candidates[0].merged.metric - sum(model.metric for model in found.models) / 2
    )
    plain = short(net, near(net), (inputs, labels), loss=absolute)
    assert plain.task.metric_name == "loss"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": lambda outputs, labels: (outputs - labels).mean()}, DataError, r"gives \(\) for .* one number each"),
        (
            {"loss": lambda outputs, _: outputs.nothing},
            DataError,
            "the loss metric failed on outputs|the loss .*failed",
        ),
        ({"loss": "mse"}, SpecError, "loss is 'mse'; pass a function"),
        ({"metric": 3}, SpecError, "metric is 3; pass a function"),
        ({"outputs": lambda given: given["absent"]}, SpecError, "outputs failed on what Sequential gives"),
        ({"inputs": lambda batch: batch[5]}, DataError, "inputs or labels failed on a batch"),
        ({"ema": True}, SpecError, "ema is an option of diagnose_states"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(options: Any, error: type[LmcError], message: str) -> None:
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 1)))
    with pytest.raises(error, match=message) as caught:
        short(net, net, (drawn(COUNT, 4), drawn(COUNT, 1)), **options)
    assert "\n" not in str(caught.value)


class Both(nn.Module):
    """Reads two inputs, the second perhaps by name."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda x: x) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 8), nn.Linear(3, 8), nn.Linear(8, 5)
        self.wrap = wrap

    def forward(self, left: Tensor, right: Tensor) -> Any:
        return self.wrap(self.head(torch.relu(self.left(left) + self.right(right))))


@dataclass
class Output:
    """As libraries of models give it."""

    loss: None
    logits: Tensor


LEFT, RIGHT = drawn(COUNT, 4), drawn(COUNT, 3, seed=2)
LABELS = seeded(Both)(LEFT, RIGHT).argmax(1)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ((LEFT, RIGHT, LABELS), {}),
        (((LEFT, RIGHT), LABELS), {}),
        (DataLoader(TensorDataset(LEFT, RIGHT, LABELS), batch_size=16), {}),
        (TensorDataset(LEFT, RIGHT, LABELS), {}),
        ({"right": RIGHT, "left": LEFT, "labels": LABELS}, {}),
        (
            [
                {"left": LEFT[:30], "right": RIGHT[:30], "target": LABELS[:30]},
                {"right": RIGHT[30:], "left": LEFT[30:], "target": LABELS[30:]},
            ],
            {},
        ),
        ([({"left": LEFT, "right": RIGHT}, LABELS)], {}),
        (
            [{"pair": (LEFT, RIGHT), "answer": LABELS, "note": "x"}],
            {"inputs": lambda batch: batch["pair"], "labels": lambda batch: batch["answer"]},
        ),
    ],
    ids=["three", "pair", "loader", "dataset", "dict", "dicts", "dict and labels", "own"],
)
def test_several_inputs_in_every_form_give_the_same(data: Any, options: Any) -> None:
    net = seeded(Both)
    found = short(net, near(net), data, **options)
    loss = F.cross_entropy(net(LEFT, RIGHT).double(), LABELS).item()
    assert (found.models[0].metric, found.models[0].loss) == (1.0, pytest.approx(loss))
    assert set(found.layers["unpermuted"]["weights"]) == {"left", "right", "head"}
    assert set(found.ranks) == {"left", "right", "head"}
    assert "0x" not in " ".join(found.lines())


@pytest.mark.parametrize(
    ("wrap", "options"),
    [
        (lambda x: {"logits": x, "hidden": x}, {}),
        (lambda x: {"out": x}, {}),
        (lambda x: Output(None, x), {}),
        (lambda x: (None, x), {"outputs": lambda given: given[1]}),
    ],
    ids=["logits", "out", "attribute", "own"],
)
def test_outputs_in_every_form(wrap: Callable[[Tensor], Any], options: Any) -> None:
    net = seeded(lambda: Both(wrap))
    found = short(net, near(net), (LEFT, RIGHT, LABELS), **options)
    assert found.models[0].metric == 1.0


def test_nets_of_several_inputs_are_permuted_and_their_statistics_reset() -> None:
    class Normed(Both):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.head(torch.relu(self.norm(self.left(left) + self.right(right))))  # type: ignore[no-any-return]

    net = seeded(Normed).train()
    for _ in range(50):
        net(LEFT, RIGHT)
    net.eval()
    order = torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])
    state = net.state_dict()
    moved = {
        name: value[order] if value.ndim and name.split(".")[0] != "head" else value for name, value in state.items()
    }
    other = copy.deepcopy(net)
    other.load_state_dict(moved | {"head.weight": state["head.weight"][:, order]})
    torch.testing.assert_close(other(LEFT, RIGHT), net(LEFT, RIGHT))
    labels = net(LEFT, RIGHT).argmax(1)
    found = diagnose(
        net, other, (LEFT, RIGHT, labels), train_data=[(LEFT, RIGHT, labels)], thresholds=Thresholds(loss=0.01)
    )
    assert found.reset_inputs == COUNT
    assert found.verdict == WITH_PERMUTATION, found.alignment
    assert found.merged is not None
    torch.testing.assert_close(dict(found.merged), dict(state), rtol=1e-4, atol=1e-5)


def test_points_between_are_paired_differences_on_a_part() -> None:
    """Along linear nets a loss that is linear has no excess, and a square has that of the parallelogram law."""
    net, count = seeded(lambda: nn.Sequential(nn.Linear(4, 1))), 600
    inputs, labels = drawn(count, 4), drawn(count, seed=3)

    def linear(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs[:, 0] - labels

    def square(outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs[:, 0] - labels).square()

    other = near(net, 1.0)
    path = short(net, other, (inputs, labels), loss=linear, lams=(0.25, 0.5)).paths["as they are"]
    assert path.inputs == 250
    assert path.errors["loss"] == pytest.approx((0,) * 4, abs=1e-6)
    ends = [(each(inputs)[:, 0] - labels).mean().item() for each in (other, net)]
    assert path.points[1].loss == pytest.approx(0.75 * ends[0] + 0.25 * ends[1], abs=1e-5)
    found = short(net, other, (inputs, labels), loss=square, lams=(0.25, 0.5))
    path = found.paths["as they are"]
    gap = (net(inputs) - other(inputs))[:, 0].double()
    picked = torch.linspace(0, count - 1, 250).round().long()
    excess = -0.25 * 0.75 * gap[picked].square()  # of a square, by the parallelogram law
    line = 0.25 * square(net(inputs), labels).mean() + 0.75 * square(other(inputs), labels).mean()
    assert path.points[1].loss == pytest.approx((line + excess.mean()).item(), rel=1e-4)
    assert path.errors["loss"][1] == pytest.approx((excess.std() / 250**0.5).item(), rel=1e-4)
    assert path.points[2].loss == pytest.approx(
        square((net(inputs) + other(inputs)) / 2, labels).mean().item(), rel=1e-4
    )
    assert any("± of its excess" in line for line in found.lines())
    assert any("on 250 inputs" in line for line in found.lines())


def test_logits_that_only_need_their_temperature_in_a_dense_task() -> None:
    net, inputs = seeded(Images), drawn(COUNT, 2, 4, 4)
    for layer in (net.get_submodule("net.0"), net.get_submodule("net.2")):
        layer.bias.data.zero_()  # type: ignore[operator, union-attr]
        layer.weight.data.mul_(6)  # type: ignore[operator, union-attr]
    labels = net(inputs).argmax(1)
    wide, apart = (Images() for _ in range(2))
    for each, own in ((wide, slice(0, 6)), (apart, slice(6, 12))):
        each.net = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(12, 5, 1, bias=False))
        for parameter in each.parameters():
            parameter.data.zero_()
        each.net[0].weight.data[own] = net.net[0].weight.data  # type: ignore[index, union-attr]
        each.net[2].weight.data[:, own] = net.net[2].weight.data  # type: ignore[index, union-attr]
    found = short(wide.eval(), apart.eval(), (inputs, labels))
    assert found.verdict in (AFTER_CALIBRATION, AS_THEY_ARE)
    torch.testing.assert_close(found.candidates[0].merged.metric, found.models[0].metric)
    assert found.candidates[0].merged.beta == pytest.approx(2 * (found.models[0].beta or 0), rel=1e-3)  # 2^(L-1)


def test_unrelated_nets_of_any_task_are_not_averaged() -> None:
    nets = [seeded(Images, seed) for seed in (0, 1)]
    inputs = drawn(COUNT, 2, 4, 4)
    found = short(nets[0], nets[1], (inputs, nets[0](inputs).argmax(1)))
    assert found.verdict in (NOT_AT_ALL, "undecided")
