"""Dead layers: strong decay can bring a whole layer to zero, and its record must stay readable."""

from __future__ import annotations

import math
from typing import Any

import pytest
from numpy_nets import CLASSES, changeable, leaves, measure
from torch import nn

from lmc.claims.extracts import norm_decay
from lmc.theory import GAUSSIAN_NULL


def kill(net: nn.Module, layer: str) -> None:
    net.get_submodule(layer).weight.data.zero_()


DEAD = [
    *[("mlp-no-bias", "hidden.0.linear"), ("mlp-no-bias", "hidden.1.linear"), ("mlp-no-bias", "head")],
    *[("mlp-bn", "hidden.1.linear"), ("vgg", "features.4"), ("resnet", "stem"), ("resnet", "stages.1.conv2")],
]


@pytest.mark.parametrize("who", ["a", "b", "both"])
@pytest.mark.parametrize(("name", "layer"), DEAD)
def test_dead_layers_never_give_nan(name: str, layer: str, who: str) -> None:
    a, b, merged, inputs = changeable(name)
    for net in {"a": [a], "b": [b], "both": [a, b]}[who]:
        kill(net, layer)
    for where, value in leaves(measure(a, b, merged, inputs, (0.0, 0.5, 1.0))):
        assert value is None or isinstance(value, str) or math.isfinite(value), where


def dead_record(who: str) -> Any:
    a, b, merged, inputs = changeable("mlp-no-bias")
    for net in (a, b) if who == "both" else (a,):
        kill(net, "hidden.1.linear")
    return measure(a, b, merged, inputs)


def test_where_both_are_dead_they_agree() -> None:
    found = dead_record("both")
    for output in ("hidden.1.relu", "hidden.2.relu", "logits"):
        record = found["layers"]["outputs"][output]
        assert (record["lewc_cosine"], record["endpoint_cosine"]) == (1.0, 1.0)
        assert (record["norm_merged"], record["norm_endpoints"], record["llfc_norm_ratio"]) == (0.0, 0.0, None)
    nothing = {"active_share": 0.0, "overlap_ratio": 0.0, "overlap_chance": 0.0, "sign_disagreement": None}
    nothing |= {"varying_share_a": 0.0, "varying_share_b": 0.0}
    known = {"function": "relu", "additivity_null": GAUSSIAN_NULL}
    known |= {"additivity_cosine": 1.0, "additivity_shuffled": 1.0}
    assert found["layers"]["activations"]["hidden.1.relu"] == {**known, **nothing}
    expected = {"orthogonality_ratio": 0.0, "recovery_cosine": 1.0, "commutativity_distance": 0.0}
    expected |= {"relative_commutativity": 0.0}
    assert found["layers"]["weights"]["hidden.1.linear"] == expected
    for point in found["path"]["points"]:
        assert point["beta"] == 1.0
        assert point["loss"] == pytest.approx(math.log(CLASSES), abs=1e-12)
        assert point["accuracy"] == 0.0, "a tie is no answer"


@pytest.mark.parametrize("reference", ["average", "endpoints"])
@pytest.mark.parametrize(
    ("merged", "endpoints", "expected"),
    [
        ([4.0, 0.0, 1.0], [4.0, 0.0, 4.0], -1.0),  # a silent layer keeps its place in the depth
        ([4.0, 0.0, 1.0], [4.0, 1.0, 4.0], None),  # a norm that merging loses is no silent layer
        ([4.0, None, 1.0], [4.0, None, 4.0], None),
        ([4.0, math.nan, 1.0], [4.0, math.nan, 4.0], None),
        ([4.0, 0.0, 0.0], [4.0, 0.0, 0.0], None),  # one point makes no line
    ],
)
def test_norms_decay_over_the_layers_that_answer(
    reference: str, merged: list[float | None], endpoints: list[float | None], expected: float | None
) -> None:
    outputs = {
        str(depth): {"norm_merged": m, "norm_endpoints": e, "llfc_norm_ratio": m / e if m is not None and e else None}
        for depth, (m, e) in enumerate(zip(merged, endpoints, strict=True))
    }
    (found,) = norm_decay(reference)({"layers": {"outputs": outputs}}).values()
    assert found == (None if expected is None else pytest.approx(expected))


def test_where_one_is_dead_what_is_undefined_is_none() -> None:
    found = dead_record("a")["layers"]
    dead = found["weights"]["hidden.1.linear"]
    assert dead["commutativity_distance"] is None
    assert dead["relative_commutativity"] == 1.0  # W_a z_b is 0, W_b z_a is not
    assert dead["orthogonality_ratio"] == 0.0  # W_a z_b = 0 where W_b z_b is not; the other direction is 1/0
    assert 0.5 < dead["recovery_cosine"] < 1.0  # half the rows are 0 = 0, half are model b's
    assert found["outputs"]["hidden.1.relu"]["endpoint_cosine"] == 0.0
    # The merged pre-activations are half of W_b z(merged): they point where b's do, as far as layer 1 let them.
    assert 0.0 < found["outputs"]["hidden.1.relu"]["lewc_cosine"] < 1.0
    relu = found["activations"]["hidden.1.relu"]
    assert relu["additivity_cosine"] == pytest.approx(1.0, abs=1e-12)
    assert (relu["overlap_ratio"], relu["overlap_chance"]) == (0.0, 0.0)
    assert 0.0 < relu["active_share"] <= 0.5  # model b's half of the mean
    assert 0.0 < relu["sign_disagreement"] < 1.0  # where b's are positive, as none of a's is
    assert relu["varying_share_a"] == 0.0 < relu["varying_share_b"]
