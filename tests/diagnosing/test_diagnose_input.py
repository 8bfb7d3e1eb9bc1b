"""What a reader can get wrong is refused in one line that names the value and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diagnosed import digits, mlp
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lmc.diagnosing.diagnose import diagnose, diagnose_states
from lmc.diagnosing.samples import read_samples
from lmc.diagnosing.standard import Thresholds
from lmc.errors import DataError, LmcError, MergeError, SpecError
from lmc.measuring.evaluation import logits_of

INPUTS, LABELS = digits()[1]
TEST = INPUTS[:20], LABELS[:20]
CPU = torch.device("cpu")

WAYS = ["as they are", "sum", "permuted", "complementary", "complementary, sum"]


def net() -> nn.Sequential:
    return mlp(4, 1)


def broken(value: float) -> nn.Module:
    found = net()
    found[0].weight.data[0, 0] = value
    return found


class Giving(nn.Module):
    """Changes what the net gives."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = net(), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


def both(change: Callable[[Tensor], Any]) -> tuple[nn.Module, nn.Module]:
    return Giving(change), Giving(change)


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ((net(), mlp(5, 1)), MergeError, "another architecture.*0.weight"),
        ((net(), mlp(4, 2)), MergeError, "another architecture"),
        ((net(), nn.Linear(64, 10)), MergeError, "model 1 is a Sequential, model 2 a Linear"),
        ((net(), mlp(4, 1, nn.GELU)), MergeError, "more than their state dicts"),
        ((broken(float("nan")), net()), MergeError, "0.weight of model 1 holds NaN"),
        ((net(), broken(float("inf"))), MergeError, "0.weight of model 2 holds NaN or infinite"),
        ((nn.Flatten(), nn.Flatten()), MergeError, "no weights"),
        (both(lambda x: (x, x)), MergeError, "gives a tuple.*wrap it"),
        (both(lambda x: {"scores": x}), MergeError, "gives a dict.*pass outputs=.*wrap it"),
        (both(lambda x: x.unsqueeze(2)), DataError, r"\(8, 10, 1\).*logits \(N, classes, ...\).*pass loss="),
        (both(lambda x: x[:, :1]), DataError, r"outputs of shape \(8, 1\) for labels of torch.int64 \(20,\)"),
        (both(lambda x: x.argmax(1)), MergeError, "torch.int64 of shape.*floating numbers"),
        (both(lambda x: x * float("inf")), MergeError, "logits of model 1 hold NaN"),
        (both(lambda x: F.dropout(x, 0.5, training=True)), MergeError, "other outputs every time"),
        ((net(), "model.pt"), SpecError, "model_b is a str"),
        ((mlp(4, 1).to("meta"), net()), MergeError, "meta device"),
    ],
)
def test_models(models: tuple[Any, Any], error: type[LmcError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        diagnose(*models, TEST)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((INPUTS[:0], LABELS[:0]), "holds 0 inputs"),
        ((INPUTS[:4], LABELS[:4]), "holds 4 inputs"),
        ([], "holds 0 inputs"),
        ((INPUTS[:20, :63], LABELS[:20]), r"cannot run on inputs of torch.float32 \(8, 63\)"),
        ((INPUTS[:20], LABELS[:20] + 1), "labels run from 1 to 10, but the model gives 10 logits"),
        ((INPUTS[:20], LABELS[:20] - 1), "labels run from -1"),
        ((INPUTS[:20], LABELS[:19]), "one class index per input"),
        ((INPUTS[:20], LABELS[:20].float()), "outputs of shape .* for labels of torch.float32"),
        ((INPUTS[:20], LABELS[:20].float() * float("nan")), "labels hold NaN"),
        ((INPUTS[:20].byte(), LABELS[:20]), "uint8 images; make them floating"),
        ((INPUTS[:20] * float("nan"), LABELS[:20]), "inputs hold NaN"),
        ((INPUTS[:20], LABELS[:20].tolist()), "a pair of Tensor and list; pass two tensors"),
        ((INPUTS[:20].numpy(), LABELS[:20].numpy()), r"a pair of ndarray and ndarray; .*torch.as_tensor\(labels\)"),
        (INPUTS, "data is a Tensor"),
        ("digits", "data is a str"),
        ([INPUTS[:5], INPUTS[:5], INPUTS[:5]], "a batch of the data is Tensor"),
        ([(INPUTS[:5], LABELS[:5], LABELS[:5])], "takes 2 positional arguments but 3 were given"),
        ([(INPUTS[:5], "cat")], r"is \['Tensor', 'str'\].*pass inputs="),
        ([(INPUTS[:5], LABELS[:5]), (INPUTS[:5, :9], LABELS[:5])], "bring them to one shape"),
    ],
)
def test_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        diagnose(net(), net(), data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "message"),
    [(INPUTS[:10, :9], "prepare both alike"), (INPUTS[:1], "fewer than two"), ("digits", "data is a str")],
)
def test_training_data(train: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        diagnose(mlp(4, 1, norm="bn"), mlp(4, 1, norm="bn"), TEST, train_data=train)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diagnose([net()], TEST), "1 models cannot be averaged; pass at least two"),
        (lambda: diagnose([], TEST), "0 models cannot be averaged; pass at least two"),
        (lambda: diagnose(net(), net()), "no data"),
        (lambda: diagnose([net(), net()], TEST, TEST), "call diagnose"),
        (lambda: diagnose("a.pt", TEST), "model 1 is a str; pass a torch.nn.Module"),  # type: ignore[arg-type]
        (lambda: diagnose({net(): 1}, TEST), "model_a is a dict; pass a torch.nn.Module or a list"),  # type: ignore[arg-type]
        (lambda: diagnose([net(), 3], TEST), "model 2 is a int"),  # type: ignore[list-item]
        (lambda: Thresholds(metric="2 %"), "threshold metric is '2 %'"),  # type: ignore[arg-type]
        (lambda: Thresholds(loss=float("nan")), "threshold loss is nan"),
        (lambda: diagnose_states(net, [net().state_dict()], TEST), "1 models cannot be averaged"),
        (lambda: diagnose_states(net, [net().state_dict(), 3], TEST), "state 2 is a int; pass a state dict"),  # type: ignore[list-item]
        (lambda: diagnose_states(lambda: 3, [{}, {}], TEST), "gives a int"),  # type: ignore[arg-type, return-value]
        (lambda: diagnose_states(lambda: 1 / 0, [{}, {}], TEST), "failed: ZeroDivisionError"),  # type: ignore[arg-type, return-value]
        (lambda: diagnose_states("f", [{}, {}], TEST), "pass a function"),  # type: ignore[arg-type]
    ],
)
def test_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()


@pytest.mark.parametrize(("name", "expected"), [("softmax", True), ("log_softmax", False)])
def test_probabilities_are_remarked_on(name: str, expected: bool) -> None:
    a, b = both(lambda x: getattr(x, name)(1))
    found = diagnose(a, b, TEST, lams=(0.5,), permutation="never")
    assert any("probabilities, which were taken for logits" in note for note in found.notes) is expected


def test_independent_probabilities_are_none_of_a_softmax() -> None:
    a, b = both(lambda x: x.sigmoid())
    found = diagnose(a, b, TEST, lams=(0.5,), permutation="never")
    assert not any("probabilities" in note for note in found.notes)


def test_states_that_do_not_fit_the_factory() -> None:
    states = [net().state_dict(), mlp(5, 1).state_dict()]
    with pytest.raises(MergeError, match=r"checkpoint 2 does not fit the model of net.*size mismatch") as caught:
        diagnose_states(net, states, TEST)
    assert "\n" not in str(caught.value)


def test_dropout_and_wrappers_are_remarked_on() -> None:
    a, b = (nn.DataParallel(nn.Sequential(nn.Linear(64, 10), nn.Dropout(0.5))).train() for _ in range(2))
    found = diagnose(a, b, TEST)
    notes = " ".join(found.notes)
    assert "dropout is off" in notes
    assert "DataParallel" in notes
    assert "in training mode: model 1, model 2;" in notes
    assert a.training
    assert set(found.merged or {"0.weight", "0.bias"}) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("models", [2, 3])
@pytest.mark.parametrize("untracked", [("1",), ("1", "4")])
def test_norms_without_statistics_leave_out_the_reset(models: int, untracked: tuple[str, ...]) -> None:
    def made() -> nn.Module:
        found = mlp(4, 2, norm="bn")
        for name in untracked:
            found[int(name)] = nn.BatchNorm1d(4, track_running_stats=False)
        return found

    found = diagnose([made() for _ in range(models)], TEST, lams=(0.5,), permutation="always")
    assert [candidate.name for candidate in found.candidates] == WAYS
    assert found.reset_inputs == 0
    (note,) = [note for note in found.notes if "BN reset" in note]
    assert "BatchNorm layer '1' keeps no running statistics (track_running_stats=False)" in note
    assert "track_running_stats=True" in note


def test_what_is_not_in_the_state_dict_is_noticed() -> None:
    a, b = net(), net()
    b.forward = lambda x: nn.Sequential.forward(b, x) + 1  # type: ignore[method-assign]
    with pytest.raises(MergeError, match="more than their state dicts"):
        diagnose(a, b, TEST)


def test_data_too_large_to_hold_is_read_on_every_pass() -> None:
    model = net().eval()
    held = read_samples((INPUTS, LABELS), model, CPU).samples
    streamed = read_samples(loader(shuffle=False), model, CPU, held_bytes=1000).samples
    assert len(streamed.examples(100)) == 32
    assert torch.equal(streamed.labels, held.labels)
    torch.testing.assert_close(logits_of(model, streamed), logits_of(model, held))
    shuffled = read_samples(loader(shuffle=True), model, CPU, held_bytes=1000).samples
    with pytest.raises(DataError, match="shuffle=False"):
        logits_of(model, shuffled)


def test_streamed_data_gives_the_same_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    models = mlp(4, 1, norm="bn"), mlp(4, 1, norm="bn")
    held = diagnose(*models, (INPUTS, LABELS), lams=(0.5,), permutation="never", reset_inputs=64)
    monkeypatch.setitem(read_samples.__kwdefaults__ or {}, "held_bytes", 1000)
    streamed = diagnose(*models, loader(shuffle=False), lams=(0.5,), permutation="never", reset_inputs=64)
    for mine, theirs in zip(held.candidates, streamed.candidates, strict=True):
        assert mine.merged.loss == pytest.approx(theirs.merged.loss, abs=1e-2)  # batches of 200 and 32 for the reset
    for one, other in zip(held.models, streamed.models, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-6)


def loader(*, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(INPUTS, LABELS), batch_size=32, shuffle=shuffle)


def test_integer_inputs_stay_integers() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(7, 8), nn.Linear(8, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.embedding(tokens).mean(1))  # type: ignore[no-any-return]

    tokens = torch.randint(7, (40, 6))
    found = diagnose(Tokens(), Tokens(), (tokens, torch.randint(3, (40,))), lams=(0.5,), permutation="always")
    assert any("embedding.weight" in note for note in found.notes)


def test_a_generator_is_read_once() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(INPUTS.split(50), LABELS.split(50), strict=True)

    assert diagnose(net(), net(), batches(), lams=(0.5,), permutation="never").inputs == 200
