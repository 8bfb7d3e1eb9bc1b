"""Both ways to ask for a diagnosis take the same options, and refuse the same values in the same words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diagnosed import digits, mlp
from torch import nn

from lmc.diagnosing.diagnose import diagnose, diagnose_states
from lmc.diagnosing.options import CHOICES, LAMS, LAYER_INPUTS, RESET_INPUTS, Options, checked
from lmc.diagnosing.standard import Thresholds
from lmc.errors import DeviceError, LmcError, SpecError
from lmc.measuring.paths import BN_IMAGES
from lmc.merging.tracing import trace_permutation_spec

TRAIN, (INPUTS, LABELS) = digits()
TEST = INPUTS[:40], LABELS[:40]
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def net() -> nn.Module:
    return mlp(4, 1, norm="bn").eval()


def refused(**options: Any) -> tuple[type[LmcError], str]:
    """The error and its message, the same from both."""
    with pytest.raises(LmcError) as of_models:
        diagnose(net(), net(), TEST, **options)
    with pytest.raises(LmcError) as of_states:
        diagnose_states(net, [net().state_dict()] * 2, TEST, **options)
    assert (type(of_models.value), str(of_models.value)) == (type(of_states.value), str(of_states.value))
    assert "\n" not in str(of_models.value)
    return type(of_models.value), str(of_models.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"permutation": "maybe"}, "permutation is 'maybe'; choose one of auto, always, never"),
        ({"permutation": None}, "permutation is None; choose one of auto, always, never"),
        ({"lams": (0.5, 2)}, "lams [0.5, 2] must lie within [0, 1]"),
        ({"lams": (float("nan"),)}, "lams [nan] must lie within [0, 1]"),
        ({"lams": "abc"}, "lams is 'abc'; pass numbers within [0, 1], such as (0.25, 0.75)"),
        ({"lams": 0.5}, "lams is 0.5; pass numbers within [0, 1], such as (0.25, 0.75)"),
        ({"layer_inputs": 0}, "layer_inputs is 0; it must be a whole number of at least 1"),
        ({"reset_inputs": 1}, "reset_inputs is 1; it must be a whole number of at least 2"),
        ({"reset_inputs": 2.5}, "reset_inputs is 2.5; it must be a whole number of at least 2"),
        ({"device": "nonsense"}, "unknown device 'nonsense'; use 'cpu', 'cuda', or None for where model 1 is"),
        ({"thresholds": 0.1}, "thresholds is 0.1; pass lmc.Thresholds(metric=0.02, loss=0.1)"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    assert refused(**options) == (SpecError, message)


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=NO_GPU)])
def test_devices_that_this_machine_lacks(device: str) -> None:
    kind, message = refused(device=device)
    assert kind is DeviceError
    assert message.startswith(f"device '{device}' cannot be used: ")
    assert message.endswith("; use 'cpu', or None")


def test_options_that_do_not_exist() -> None:
    message = (
        "there is no option 'lam'; choose of train_data, loss, metric, inputs, labels, outputs, ignore_index, ema, "
        "lams, permutation, device, layer_inputs, reset_inputs"
    )
    with pytest.raises(TypeError, match=message):
        diagnose(net(), net(), TEST, lam=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=message):
        diagnose_states(net, [net().state_dict()] * 2, TEST, lam=0.5)  # type: ignore[call-arg]


def test_every_option_acts_on_states_as_on_models() -> None:
    a, b = net(), net()
    plain = diagnose(a, b, TEST)
    options = Options(
        train_data=TRAIN,
        lams=(0.25,),
        permutation=trace_permutation_spec(net(), TEST[0][:2]),
        loss=None,
        metric=None,
        inputs=None,
        labels=None,
        outputs=None,
        ignore_index=-100,
        ema=False,
        device="cpu",
        layer_inputs=3,
        reset_inputs=60,
        thresholds=Thresholds(loss=9.0),
    )
    assert options.keys() == Options.__annotations__.keys()  # none is left out
    found = diagnose(a, b, TEST, **options)
    states = [a.state_dict(), b.state_dict()]
    assert diagnose_states(net, states, TEST, **options).to_json() == found.to_json()
    assert diagnose_states(net, states, TEST).to_json() == plain.to_json()
    assert found.reset_inputs == 60
    assert any("60 inputs of training data" in note for note in found.notes)
    assert [found.paths[name].lams for name in ("BN reset", "permuted, BN reset")] == [(0.0, 0.25, 0.5, 1.0)] * 2
    assert found.thresholds.loss == 9.0
    assert found.layers["unpermuted"] != plain.layers["unpermuted"]  # of fewer inputs


def test_what_counts_where_nothing_is_said() -> None:
    found = checked({}, net())
    assert (found.train_data, found.lams, found.permutation, found.spec) == (None, LAMS, "auto", None)
    assert (found.device, found.layer_inputs) == (torch.device("cpu"), LAYER_INPUTS)
    assert (found.reset_inputs, found.thresholds) == (RESET_INPUTS, Thresholds())
    assert checked({"reset_inputs": 10**6}, net()).reset_inputs == BN_IMAGES
    spec = trace_permutation_spec(net(), TEST[0][:2])
    assert checked({"permutation": spec}, net()).permutation == "always"
    for choice in CHOICES:
        assert checked({"permutation": choice}, net()).permutation == choice


def test_the_documentation_of_both_leads_to_every_option() -> None:
    for name in Options.__annotations__:
        assert f"``{name}``" in str(diagnose.__doc__)
        assert f"\n        {name}: " in str(Options.__doc__)
