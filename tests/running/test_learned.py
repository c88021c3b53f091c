"""What a fitted component has learned goes through bytes and predicts the same."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, defaultdict, namedtuple
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from adbench_harness.errors import ContractError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.running import learned
from adbench_harness.running.learned import UnknownStateError
from adbench_harness.testing import fitting
from adbench_harness.types import (
    Batch,
    FeatureRequest,
    ImageScore,
    InputSpec,
    Model,
    Outputs,
    Scorer,
    Scores,
)

REQUEST = FeatureRequest("resnet18", ("layer1",))


class Bare(Model):
    """A model whose attributes a test sets."""

    name, summary, version = "bare", "Nothing.", 1
    emits = frozenset({ImageScore})
    input = InputSpec(32, None)

    def fit(self, train, tools):
        return self

    def predict(self, batch):
        return Outputs((32, 32), ImageScore(batch.images.mean((1, 2, 3))))


def tools():
    return fitting.tools(None, 32)


def through_bytes(taken):
    """As it would be stored: JSON without nan, and a safetensors file."""
    values = json.loads(json.dumps(taken.values, allow_nan=False))
    return learned.Learned(values, load(save(dict(taken.tensors))), taken.numbers)


def reloaded(fitted, component=None):
    make = component or type(fitted)
    fresh = make()
    learned.put(fresh, through_bytes(learned.take(fitted, make())), tools())
    return fresh


def set_in_fit(**attributes):
    fitted = Bare()
    for name, value in attributes.items():
        setattr(fitted, name, value)
    return fitted


def kept(value):
    return reloaded(set_in_fit(value=value)).value


def same(one, other):
    if isinstance(one, torch.Tensor):
        return (
            type(one) is type(other)
            and one.dtype == other.dtype
            and one.stride() == other.stride()
            and torch.equal(one, other)
        )
    if isinstance(one, np.ndarray | np.generic):
        alike = type(one) is type(other) and one.dtype == other.dtype
        return alike and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(same, one, other)) and len(one) == len(other)
    return type(one) is type(other) and (one == other or one != one)


# ---------------------------------------------------------------- values

KEYS = st.one_of(
    st.text(), st.integers(), st.booleans(), st.tuples(st.integers(), st.text(max_size=2))
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(
        [np.float32(0.1), np.float64(0.1), np.int8(3), np.bool_(True), np.float32("nan")]
    ),
    st.builds(
        lambda seed: torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)),
        st.integers(0, 9),
    ),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_and_tensors_come_back_as_they_were(value):
    assert same(value, kept(value))


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64"]
)
@pytest.mark.parametrize(
    "view",
    [
        lambda t: t,
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t[1:, 1:],
        lambda t: t[0, 0],
        lambda t: t[:0],
        lambda t: t[:1].expand(4, 6),
        lambda t: t.reshape(1, 2, 2, 6).to(memory_format=torch.channels_last),
        lambda t: t.reshape(2, 3, 4).permute(2, 0, 1),
    ],
)
def test_tensors_of_any_type_and_layout(dtype, view):
    tensor = view(torch.arange(24).reshape(4, 6).to(getattr(torch, dtype)))
    again = kept(tensor)
    assert again.dtype == tensor.dtype
    assert torch.equal(again, tensor)
    # Rows with gaps between them are packed; a transposed matrix stays transposed.
    packed = 0 in tensor.stride() or len(tensor.untyped_storage()) != tensor.nbytes
    assert again.stride() == (tensor.contiguous() if packed else tensor).stride()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint16).reshape(2, 3),
        np.arange(6, dtype=">f4"),
        np.arange(6.0)[::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.broadcast_to(np.float32(2), (2, 2)),
        np.array(3.5),
        np.zeros((0, 3)),
        np.array([np.nan, np.inf]),
    ],
)
def test_numpy_arrays(array):
    again = kept(array)
    assert isinstance(again, np.ndarray)
    assert again.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(again, array)
    assert again.flags.f_contiguous or not array.flags.f_contiguous


def test_a_parameter_stays_one_frozen_or_not():
    for parameter in (
        nn.Parameter(torch.ones(2)),
        nn.Parameter(torch.arange(2), requires_grad=False),
    ):
        again = kept(parameter)
        assert isinstance(again, nn.Parameter)
        assert again.requires_grad == parameter.requires_grad
        assert torch.equal(again, parameter)


def test_tensors_that_share_memory_can_be_stored():
    whole = torch.arange(12.0).reshape(3, 4)
    fitted = set_in_fit(whole=whole, again=whole, row=whole[1], rest=whole[1:], turned=whole.T)
    taken = learned.take(fitted, Bare())
    assert taken.numbers == 12 + 4 + 8 + 12
    again = reloaded(fitted)
    assert again.again is again.whole
    for name in ("whole", "row", "rest", "turned"):
        assert torch.equal(getattr(again, name), getattr(fitted, name))


def test_two_paths_of_one_name_do_not_meet():
    value = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}
    assert same(value, kept(value))


def test_what_was_taken_is_not_what_is_put():
    fitted = set_in_fit(value=torch.zeros(2))
    fresh = Bare()
    learned.put(fresh, learned.take(fitted, Bare()), tools())
    fresh.value += 1
    assert fitted.value.tolist() == [0, 0]


def test_ordered_dicts_are_dicts():
    state = nn.Linear(2, 2).state_dict()
    assert same(dict(state), kept(OrderedDict(state)))


def test_memory_banks_devices_and_features_come_back():
    served = tools().features(REQUEST)
    bank = Neighbours(torch.randn(20, 3))
    again = reloaded(set_in_fit(bank=bank, device=torch.device("cpu"), features=served))
    queries = torch.randn(4, 3)
    for one, other in zip(bank.search(queries, 2), again.bank.search(queries, 2), strict=True):
        assert torch.equal(one, other)
    assert again.device == torch.device("cpu")
    batch = Batch(torch.rand(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64))
    assert torch.equal(served(batch)["layer1"], again.features(batch)["layer1"])


# ---------------------------------------------------------------- what counts as learned


class Configured(Bare):
    """A model with what a constructor may leave behind."""

    def __init__(self, *, width: int = 3) -> None:
        self.width = width
        self.low = math.nan
        self.activation = torch.relu
        self.double = lambda x: 2 * x
        self.scale = partial(torch.mul, other=2)
        self.sizes = {"a": [1, (2, 3)]}
        self.grid = np.zeros((2, 2))
        self.spec = InputSpec(64, 32)
        self.inner = Helper()
        self.method = self.inner.method
        self.itself = {"of": self.inner}
        self.type = torch.float32


class Helper:
    def __init__(self):
        self.value = 1
        self.owner = self

    def method(self):
        return self.value


def test_what_the_constructor_made_is_not_learned():
    assert learned.take(Configured(), Configured()).values == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("width", lambda m: setattr(m, "width", 4)),
        ("low", lambda m: setattr(m, "low", 1.0)),
        ("sizes", lambda m: m.sizes["a"].append(4)),
        ("grid", lambda m: m.grid.fill(2)),
        ("mean", lambda m: setattr(m, "mean", 0.5)),
    ],
)
def test_what_fit_changed_in_place_or_not_is_learned(name, change):
    fitted = Configured()
    change(fitted)
    assert list(learned.take(fitted, Configured()).values) == [name]
    assert same(getattr(fitted, name), getattr(reloaded(fitted), name))


Pair = namedtuple("Pair", "mean std")


class Estimator:
    """As scikit-learn's: fit sets attributes that end in an underscore."""

    def fit(self):
        self.coef_ = np.ones(3)
        return self


@pytest.mark.parametrize(
    "value",
    [
        lambda x: x,
        torch.relu,
        partial(torch.mul, other=3),
        torch.Generator(),
        Estimator().fit(),
        Pair(1.0, 2.0),
        defaultdict(list),
        {1, 2},
        b"bytes",
        np.array(["text"]),
        np.array([None]),
        np.longdouble(1) * np.ones(2),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2).to_sparse(),
        InputSpec(),
        {"deep": [1, (2, {"er": Helper()})]},
        {torch.relu: 1},
        [torch.optim.SGD([nn.Parameter(torch.ones(1))])],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_told_is_refused_by_name(value):
    with pytest.raises(UnknownStateError, match=r"attribute 'odd[.\w]*' holds a \w+, whose"):
        learned.take(set_in_fit(odd=value), Bare())


def test_the_place_within_an_attribute_is_named():
    with pytest.raises(UnknownStateError, match=r"attribute 'odd.deep.1' holds a function"):
        learned.take(set_in_fit(odd={"deep": [1, lambda x: x]}), Bare())


def test_an_estimator_that_the_constructor_made_and_fit_changed_is_refused():
    sklearn = pytest.importorskip("sklearn.linear_model")

    class Linear(Bare):
        def __init__(self) -> None:
            self.regression = sklearn.LinearRegression()

    fitted = Linear()
    assert learned.take(fitted, Linear()).values == {}
    fitted.regression.fit([[0.0], [1.0]], [0.0, 1.0])
    with pytest.raises(UnknownStateError, match="'regression' holds a LinearRegression"):
        learned.take(fitted, Linear())


def test_what_refers_to_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(UnknownStateError, match=r"attribute 'loop.0' contains itself"):
        learned.take(set_in_fit(loop=loop), Bare())


# ---------------------------------------------------------------- modules


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 1, 1))


class Network(Bare):
    """Trains a module that fit creates."""

    def fit(self, train, tools):
        self.rebuild({}, tools)
        self.net(torch.rand(2, 3, 8, 8))  # moves the statistics of its batch normalisation
        self.net.eval()
        self.net[2].train()
        return self

    def rebuild(self, state, tools):
        self.net = network()


def test_a_module_that_fit_creates():
    fitted = Network().fit(None, None)
    taken = learned.take(fitted, Network())
    assert taken.numbers == sum(p.numel() for p in fitted.net.parameters())
    again = reloaded(fitted)
    assert [part.training for part in again.net.modules()] == [
        part.training for part in fitted.net.modules()
    ]
    for one, other in zip(
        fitted.net.state_dict().values(), again.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_module_that_rebuild_does_not_create_is_named():
    class Forgetful(Network):
        def fit(self, train, tools):
            self.net = network()

        def rebuild(self, state, tools):
            """Nothing."""

    fitted = Forgetful()
    fitted.fit(None, None)
    with pytest.raises(ContractError, match="'net' is a module that fit creates; define rebuild"):
        reloaded(fitted)


@pytest.mark.parametrize("other", [nn.Linear(3, 4), nn.Sequential(nn.Conv2d(3, 4, 3))])
def test_a_rebuilt_module_of_another_shape_is_named(other):
    class Mistaken(Network):
        def rebuild(self, state, tools):
            self.net = network() if not state else other

        def fit(self, train, tools):
            self.net, self.made = network(), True

    fitted = Mistaken()
    fitted.fit(None, None)
    with pytest.raises(ContractError, match="'net': the module that rebuild made is not the one"):
        reloaded(fitted)


class Shares(Bare):
    """Modules and weights with several names, in lists, dicts and each other."""

    def fit(self, train, tools):
        self.rebuild({}, tools)
        for parameter in self.both.parameters():
            nn.init.normal_(parameter)

    def rebuild(self, state, tools):
        self.encoder, self.decoder = nn.Linear(3, 4, bias=False), nn.Linear(3, 4)
        self.decoder.weight = self.encoder.weight
        self.both = nn.Sequential(self.encoder, self.decoder)
        self.stages = [self.encoder, {"last": (nn.Linear(1, 1), self.decoder)}]


def test_shared_modules_and_tied_weights_stay_shared():
    fitted = Shares()
    fitted.fit(None, None)
    taken = learned.take(fitted, Shares())
    assert taken.numbers == 12 + 4 + 2  # each once
    again = reloaded(fitted)
    assert again.both[0] is again.encoder is again.stages[0]
    assert again.decoder.weight is again.encoder.weight
    assert torch.equal(again.decoder.weight, fitted.decoder.weight)
    assert torch.equal(again.stages[1]["last"][0].weight, fitted.stages[1]["last"][0].weight)


class Grows(nn.Module, Bare):
    """A component that is a module itself: its buffers are a memory bank."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.empty(0, 3))
        self.register_buffer("spread", None)
        self.inner = nn.Module()
        self.inner.register_buffer("bank", None)
        self.head = nn.Linear(3, 1)
        self.weight = nn.Parameter(torch.zeros(2))
        self.note = "constructed"

    def fit(self, train, tools):
        self.bank = torch.rand(5, 3)
        self.spread = torch.rand(3)
        self.inner.bank = torch.rand(7)
        nn.init.normal_(self.weight)
        self.threshold = 0.25
        self.eval()


def test_a_component_that_is_a_module():
    fitted = Grows()
    fitted.fit(None, None)
    taken = learned.take(fitted, Grows())
    assert set(taken.values) == {
        *("bank", "spread", "inner", "head", "weight", "threshold", "training")
    }
    assert taken.numbers == 15 + 3 + 7 + 4 + 2
    again = reloaded(fitted)
    assert not again.training
    assert not again.head.training
    assert again.threshold == 0.25
    assert isinstance(again.weight, nn.Parameter)
    for one, other in zip(fitted.state_dict().items(), again.state_dict().items(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])


def test_a_component_that_is_a_layer_keeps_its_weights():
    class Layer(nn.Linear, Bare):
        def __init__(self) -> None:
            super().__init__(2, 1)

    fitted = Layer()
    assert torch.equal(reloaded(fitted).weight, fitted.weight)


def test_a_recurrent_network_uses_the_weights_that_were_put():
    class Recurrent(Bare):
        def __init__(self) -> None:
            self.net = nn.LSTM(3, 4)

    fitted = Recurrent()
    sequence = torch.rand(5, 1, 3)
    assert torch.equal(reloaded(fitted).net(sequence)[0], fitted.net(sequence)[0])


class Student(Bare):
    """Trains a copy of a backbone."""

    feature_requests = (REQUEST,)

    def fit(self, train, tools):
        self.student = tools.trainable(REQUEST).eval()
        with torch.no_grad():
            for parameter in self.student.parameters():
                parameter.mul_(1.5)


def test_a_trainable_backbone_needs_no_rebuilding():
    fitted = Student()
    fitted.fit(None, tools())
    again = reloaded(fitted)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(fitted.student(images)["layer1"], again.student(images)["layer1"])


# ---------------------------------------------------------------- components in components


class Threshold(Scorer):
    """Learns a number and a module."""

    name, summary, version = "threshold", "Nothing.", 1
    accepts = frozenset({ImageScore})

    def fit(self, outputs, generator):
        self.rebuild({})
        self.limit = float("inf")

    def score(self, outputs):
        return Scores(outputs[ImageScore].values)

    def rebuild(self, state):
        self.net = nn.Linear(1, 1)


class Nests(Bare):
    """Components that the constructor takes, and one that fit makes."""

    def __init__(self) -> None:
        self.detector = Network()
        self.scorer = Threshold()

    def fit(self, train, tools):
        self.detector.fit(train, tools)
        self.scorer.fit(None, None)
        self.names = ("a", "b")
        self.rebuild({"names": self.names}, tools)

    def rebuild(self, state, tools):
        self.head = nn.Linear(len(state["names"]), 1)
        self.late = Threshold()


def test_components_within_components():
    fitted = Nests()
    fitted.fit(None, None)
    fitted.late.fit(None, None)
    again = reloaded(fitted)
    assert again.scorer.limit == again.late.limit == math.inf
    for module in ("detector.net", "scorer.net", "late.net", "head"):
        one, other = fitted, again
        for name in module.split("."):
            one, other = getattr(one, name), getattr(other, name)
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_rebuild_gets_the_plain_values_and_tensors_only():
    seen = {}

    class Asks(Nests):
        def fit(self, train, tools):
            super().fit(train, tools)
            self.table = {(0, 1): torch.ones(2)}
            self.nets = [nn.Linear(1, 1)]

        def rebuild(self, state, tools):
            seen.update(state)
            super().rebuild(state, tools)
            self.nets = [nn.Linear(1, 1)]

    fitted = Asks()
    fitted.fit(None, None)
    fitted.late.fit(None, None)
    seen.clear()
    reloaded(fitted)
    assert set(seen) == {"names", "table"}
    assert seen["table"][0, 1].tolist() == [1, 1]
