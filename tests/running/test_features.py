from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.cli import main
from adbench_harness.downloads import weights
from adbench_harness.errors import UserError
from adbench_harness.images.inputs import Images, Inputs
from adbench_harness.results.trial import Weights
from adbench_harness.running import features
from adbench_harness.types import Batch, FeatureRequest, WeightFile
from weightfiles import written

CPU = torch.device("cpu")
RESNET18 = next(backbone for backbone in BACKBONES if backbone.name == "resnet18")()
RESNET34 = get_model("resnet34", weights=None).state_dict()
EFFICIENTNET = next(backbone for backbone in BACKBONES if backbone.name == "efficientnet_b4")()


class TinyNet(nn.Module):
    """Two convolutions and a batch norm, with torchvision's kind of names."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.layer1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        if "layer2" in layers:
            self.layer2 = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        grids = {"layer1": self.bn1(self.layer1(images))}
        if "layer2" in self.layers:
            grids["layer2"] = self.layer2(grids["layer1"])
        return {name: grids[name] for name in self.layers}


def state(layers: tuple[str, ...] = ("layer1", "layer2"), seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return TinyNet(layers).state_dict()


class Tiny:
    name: ClassVar[str] = "tiny"
    version: ClassVar[int] = 3
    layers: ClassVar[tuple[str, ...]] = ("layer1", "layer2")
    weights: ClassVar[WeightFile | None] = WeightFile("https://x", "tiny_a-0123.pth", "0123", "CC0")

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        return TinyNet(layers)


def load(path: Path, *layers: str) -> nn.Module:
    return features.load(Tiny(), layers, Weights("tiny", 3, str(path)), CPU)  # type: ignore[arg-type]


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("name", ["tiny-1.pth", "tiny-1.pt", "tiny-1.safetensors"])
def test_every_format_loads_frozen(tmp_path: Path, name: str) -> None:
    network = load(written(tmp_path / name, state()), "layer1", "layer2")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(network.state_dict()[k], v) for k, v in state().items())


def test_a_file_with_more_than_the_layers_need_is_fine(tmp_path: Path) -> None:
    path = written(tmp_path / "tiny-1.pth", {**state(), "fc.weight": torch.zeros(2), "epoch": 3})
    network = load(path, "layer1")
    assert not hasattr(network, "layer2")
    assert torch.equal(network.layer1.weight, state()["layer1.weight"])  # type: ignore[union-attr]


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state().items()}


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": state(), "epoch": 3},
        {"model": state(), "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        prefixed("module."),
        prefixed("backbone."),
        {"state_dict": {**prefixed("encoder."), "head.weight": torch.zeros(3)}},
        {"model": {"net": prefixed("module.visual.")}},
        {"state_dict": prefixed("model."), "ema": {"decay": torch.tensor(0.9)}},
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in state().items()
        },
        {"model_state_dict": {n: v.bfloat16() for n, v in prefixed("module.").items()}},
    ],
)
@pytest.mark.parametrize("name", ["tiny-1.pth", "anything", "x.bin"])
def test_wrapped_prefixed_and_short_numbers_are_read(
    tmp_path: Path, wrapped: dict[str, Any], name: str
) -> None:
    network = load(written(tmp_path / name, wrapped), "layer1", "layer2")
    for key, value in state().items():
        assert network.state_dict()[key].dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(network.state_dict()[key], value, rtol=1e-2, atol=1e-2)


def test_a_file_of_safetensors_is_known_by_its_content(tmp_path: Path) -> None:
    file = written(tmp_path / "x.safetensors", prefixed("backbone."))
    load(file.rename(tmp_path / "weights"), "layer1", "layer2")


def test_two_readings_that_fit_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "dino.pth", {"student": state(), "teacher": prefixed("module.")})
    with pytest.raises(UserError, match=r"fit as 'student\.' and as 'teacher\.module\.'; save one"):
        load(path, "layer1", "layer2")


def test_names_that_fit_nothing_are_told(tmp_path: Path) -> None:
    other = {"visual.trunk.stem.weight": torch.zeros(2), "visual.trunk.head.weight": torch.zeros(2)}
    path = written(tmp_path / "clip.pth", {"state_dict": other})
    with pytest.raises(UserError, match=r"those in the file all begin with 'state_dict.visual.tru"):
        load(path, "layer1")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("layers", [("layer2", "layer3"), ("layer1",), ("layer4", "avgpool")])
def test_a_file_of_a_deeper_network_is_refused(
    tmp_path: Path, prefix: str, layers: tuple[str, ...]
) -> None:
    deeper = {f"{prefix}{name}": tensor for name, tensor in RESNET34.items()}
    path = written(tmp_path / "r34.safetensors", deeper)
    with pytest.raises(UserError) as error:
        features.load(RESNET18, layers, Weights("resnet18", 1, str(path), verified=False), CPU)
    # A safetensors file sorts its names.
    assert str(error.value) == (
        f"weights '{path}' are another network's: resnet18 has no parameters layer1.2.bn1.weight, "
        "layer1.2.bn2.weight, layer1.2.conv1.weight, ...; give resnet18's file, or choose another "
        "--backbone"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: float) -> None:
    broken = state()
    broken["layer2.bias"][1] = number
    path = written(tmp_path / "x.safetensors", broken)
    load(path, "layer1")
    with pytest.raises(UserError) as error:
        load(path, "layer2")
    assert str(error.value) == (
        f"weights '{path}' have numbers that are not finite (layer2.bias); fetch the file again, "
        "or train it again"
    )


def test_a_head_of_other_classes_and_later_layers_are_no_other_network(tmp_path: Path) -> None:
    whole = get_model("resnet18", weights=None).state_dict()
    file = {**whole, "fc.0.weight": torch.zeros(7, 512), "norm.weight": torch.zeros(3)}
    path = written(tmp_path / "own.safetensors", file)
    for layers in (("layer1",), ("layer2", "layer3"), ("avgpool",)):
        features.load(RESNET18, layers, Weights("resnet18", 1, str(path), verified=False), CPU)


def test_a_norm_after_the_last_block_is_no_other_network(tmp_path: Path) -> None:
    backbone = next(b for b in BACKBONES if b.name == "densenet201")()
    path = written(tmp_path / "x.pth", get_model("densenet201", weights=None).state_dict())
    used = Weights("densenet201", 1, str(path), verified=False)
    features.load(backbone, ("features.denseblock2",), used, CPU)
    features.load(backbone, ("features.denseblock4",), used, CPU)


def test_a_prefix_with_less_than_the_layers_need_is_refused(tmp_path: Path) -> None:
    part = {f"module.{name}": value for name, value in state(("layer1",)).items()}
    with pytest.raises(UserError, match=r"lack 2 of the parameters that tiny's layer1, layer2"):
        load(written(tmp_path / "part.pth", part), "layer1", "layer2")


def test_a_file_with_other_objects_names_them(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pth", {"state_dict": state(), "args": argparse.Namespace(lr=1)})
    with pytest.raises(UserError, match=r"they hold argparse.Namespace, and loading .* run code"):
        load(path, "layer1")


def test_a_file_with_less_than_the_layers_need_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "tiny-1.pth", state(("layer1",)))
    load(path, "layer1")
    with pytest.raises(UserError) as error:
        load(path, "layer1", "layer2")
    assert str(error.value) == (
        f"weights '{path}' lack 2 of the parameters that tiny's layer1, layer2 need "
        "(layer2.weight, layer2.bias); give the full file, or ask for layers that it covers"
    )


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    old = {k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}
    load(written(tmp_path / "tiny-1.pth", old), "layer1", "layer2")


def test_layers_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="backbone 'tiny' has no layer x, y; it has layer1, layer2"):
        weights.check_layers(Tiny(), ("x", "layer1", "y"))  # type: ignore[arg-type]


def test_parameters_of_another_shape_are_refused(tmp_path: Path) -> None:
    other = {**state(), "layer1.weight": torch.zeros(8, 3, 3, 3)}
    path = written(tmp_path / "tiny-1.pth", other)
    with pytest.raises(UserError, match=r"tiny-1.pth' .*layer1.weight") as error:
        load(path, "layer1")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("tiny-1.pth", b"junk"), ("tiny-1.pth", b""), ("tiny-1.safetensors", b"junk")],
)
def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"tiny-1\.\w+' cannot be read as named tensors .*; fetch the file again"
    ) as e:
        load(path, "layer1")
    assert "\n" not in str(e.value)


class Payload:
    """What a malicious file would run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return logging.critical, ("a weights file ran code",)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], Payload()])
def test_a_file_of_something_else_is_refused_and_runs_no_code(
    tmp_path: Path, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "tiny-1.pth", content)
    with pytest.raises(UserError, match="cannot be read") as error:
        load(path, "layer1")
    assert "\n" not in str(error.value)
    assert not caplog.records


# ---------------------------------------------------------------- features


@pytest.fixture
def images() -> Images:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 3, 8, 8), generator=draw, dtype=torch.uint8)
    inputs = Inputs((), pixels, np.full((20, 2), 8, np.int32), np.zeros(20))
    return Images(inputs, range(20), np.arange(20), CPU)


@pytest.fixture
def store(tmp_path: Path) -> features.FeatureStore:
    path = written(tmp_path / "tiny-1.pth", state())
    return features.FeatureStore(Tiny(), Weights("tiny", 3, str(path)), CPU)  # type: ignore[arg-type]


def counted(store: features.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images that went through the network."""
    seen: list[int] = []
    run = store._run

    def count(batch: Batch, layers: tuple[str, ...]) -> dict[str, Tensor]:
        seen.append(len(batch))
        return run(batch, layers)

    monkeypatch.setattr(store, "_run", count)
    return seen


def test_unaltered_images_are_served_from_memory(
    store: features.FeatureStore, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("layer1", "layer2")
    fresh = [store.network(both)(batch.images) for batch in images.batches(20)]
    seen = counted(store, monkeypatch)
    store.extract(images, both, 20)
    assert sum(seen) == 20
    one = store.serve(FeatureRequest("tiny", ("layer2",)))
    for places in ([3, 19, 0], [7]):
        batch = images.batch(places)
        served = one(batch)
        assert set(served) == {"layer2"}
        assert torch.allclose(served["layer2"], fresh[0]["layer2"][places], atol=1e-6)
    assert sum(seen) == 20


def test_altered_images_are_run_again(
    store: features.FeatureStore, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.extract(images, ("layer1",), 20)
    seen = counted(store, monkeypatch)
    batch = images.batch([1, 2])
    altered = Batch(images=1 - batch.images, seeds=batch.seeds)
    serve = store.serve(FeatureRequest("tiny", ("layer1",)))
    expected = store.network(("layer1",))(altered.images)["layer1"]
    assert torch.allclose(serve(altered)["layer1"], expected, atol=1e-6)
    assert seen == [2]


def test_what_memory_does_not_hold_is_run_with_the_same_result(
    store: features.FeatureStore, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = FeatureRequest("tiny", ("layer1",))
    store.extract(images, ("layer1",), 20)
    kept = store.serve(request)(images.batch([4, 5]))["layer1"]
    small = features.FeatureStore(store._backbone, store._weights, CPU)
    monkeypatch.setattr(features, "_free", lambda _: 1000)
    small.extract(images, ("layer1",), 20)
    seen = counted(small, monkeypatch)
    assert torch.allclose(small.serve(request)(images.batch([4, 5]))["layer1"], kept, atol=1e-6)
    assert seen == [2]


def test_a_layer_that_was_not_extracted_is_run(
    store: features.FeatureStore, images: Images
) -> None:
    store.extract(images, ("layer1",), 20)
    batch = images.batch([0])
    served = store.serve(FeatureRequest("tiny", ("layer2",)))(batch)["layer2"]
    expected = store.network(("layer1", "layer2"))(batch.images)["layer2"]
    assert torch.allclose(served, expected, atol=1e-6)


def test_what_is_served_can_be_written_into(store: features.FeatureStore, images: Images) -> None:
    store.extract(images, ("layer1",), 20)
    serve = store.serve(FeatureRequest("tiny", ("layer1",)))
    before = serve(images.batch([0, 1]))["layer1"].clone()
    serve(images.batch([0, 1]))["layer1"].zero_()
    assert torch.equal(serve(images.batch([0, 1]))["layer1"], before)


class Hungry(Tiny):
    """Has memory for ``room`` images at once; ``seen`` are the batches that it was given."""

    def __init__(self, room: int, error: type[RuntimeError], message: str) -> None:
        self.room = room
        self.error = error
        self.message = message
        self.seen: list[int] = []

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        network = TinyNet(layers)

        def refuse(_: nn.Module, given: tuple[Tensor]) -> None:
            self.seen.append(len(given[0]))
            if len(given[0]) > self.room:
                raise self.error(self.message)

        network.register_forward_pre_hook(refuse)
        return network


def hungry(
    store: features.FeatureStore,
    room: int,
    error: type[RuntimeError] = torch.OutOfMemoryError,
    message: str = "CUDA out of memory. Tried to allocate 2.00 GiB",
) -> tuple[features.FeatureStore, list[int]]:
    """``store`` on a device with room for so many images, and the batches that it tried."""
    backbone = Hungry(room, error, message)
    return features.FeatureStore(backbone, store._weights, CPU), backbone.seen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        (RuntimeError, "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    ],
)
@pytest.mark.parametrize("room", [1, 3, 15])
def test_a_batch_that_the_memory_does_not_hold_is_halved(
    store: features.FeatureStore,
    images: Images,
    room: int,
    error: type[RuntimeError],
    message: str,
) -> None:
    both = ("layer1", "layer2")
    small, tried = hungry(store, room, error, message)
    small.extract(images, both, 20)
    assert sum(size for size in tried if size <= room) == 20
    # It is learned once: no batch after the first that fitted is too large.
    fitted = next(i for i, size in enumerate(tried) if size <= room)
    assert max(tried[fitted:]) <= room
    store.extract(images, both, 20)
    batch = images.batch(range(20))
    wanted, got = (s.serve(FeatureRequest("tiny", both))(batch) for s in (store, small))
    for layer in both:
        assert torch.allclose(got[layer], wanted[layer], atol=1e-6)
    altered = Batch(1 - batch.images, batch.seeds)
    wanted, got = (s.serve(FeatureRequest("tiny", both))(altered) for s in (store, small))
    for layer in both:
        assert got[layer].shape == wanted[layer].shape
        assert torch.allclose(got[layer], wanted[layer], atol=1e-6)


def test_memory_that_ends_in_the_middle_loses_no_image(
    store: features.FeatureStore, images: Images
) -> None:
    small, tried = hungry(store, 16)
    small.extract(images, ("layer1",), 40)
    small._backbone.room = 2  # type: ignore[attr-defined]  # somebody else takes the rest
    serve = small.serve(FeatureRequest("tiny", ("layer1",)))
    batch = images.batch(range(20))
    altered = Batch(1 - batch.images, batch.seeds)
    expected = store.network(("layer1",))(altered.images)["layer1"]
    assert torch.allclose(serve(altered)["layer1"], expected, atol=1e-6)
    assert tried == [16, 4, 20, 10, 5, *[2] * 10]


def test_what_no_halving_cures_is_raised(store: features.FeatureStore, images: Images) -> None:
    small, tried = hungry(store, 0)
    with pytest.raises(torch.OutOfMemoryError):
        small.extract(images, ("layer1",), 20)
    assert tried == [16, 8, 4, 2, 1]
    other, tried = hungry(store, 0, RuntimeError, "mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        other.extract(images, ("layer1",), 20)
    assert tried == [16]


def test_the_first_batch_is_smaller_for_larger_images() -> None:
    assert [features.batch_size(CPU, (side, side)) for side in (8, 224, 256, 512, 2048)] == [
        16,
        16,
        16,
        4,
        1,
    ]
    cuda = torch.device("cuda")
    assert [features.batch_size(cuda, (side, side)) for side in (224, 512, 4096)] == [64, 16, 1]


def test_features_of_another_precision_are_those_rounded(
    store: features.FeatureStore, images: Images
) -> None:
    both = ("layer1", "layer2")
    rounded = features.FeatureStore(
        store._backbone, replace(store._weights, precision="bfloat16"), CPU
    )
    batch = images.batch(range(20))
    whole = store.serve(FeatureRequest("tiny", both))(batch)
    fresh = rounded.serve(FeatureRequest("tiny", both))(batch)
    rounded.extract(images, both, 20)
    kept = rounded.serve(FeatureRequest("tiny", both))(batch)
    for layer in both:
        assert rounded._grids[layer].dtype == torch.bfloat16
        assert kept[layer].dtype == fresh[layer].dtype == torch.float32
        # Memory changes nothing, and the difference is that of eight bits of mantissa.
        assert torch.allclose(kept[layer], fresh[layer], atol=2**-7)
        assert not torch.equal(fresh[layer], whole[layer])
        assert torch.allclose(fresh[layer], whole[layer], atol=0.03, rtol=0.03)


@pytest.mark.gpu
def test_a_gpu_without_memory_gets_smaller_batches(store: features.FeatureStore) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    there = features.FeatureStore(store._backbone, store._weights, torch.device("cuda"))
    batch = Batch(torch.rand(256, 3, 256, 256).cuda(), torch.zeros(256, dtype=torch.int64))
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + 400 * 2**20
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.mem_get_info()[1])
    try:
        got = there.serve(FeatureRequest("tiny", ("layer2",)))(batch)["layer2"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert there._most < 256
    expected = store.network(("layer2",))(batch.images[::37].cpu())["layer2"]
    assert torch.allclose(got[::37].cpu(), expected, atol=5e-3)


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("gpu", "unknown device 'gpu'; write auto, cpu, cuda or cuda:N"),
        ("meta", "device 'meta' is not supported; write auto, cpu, cuda or cuda:N"),
        ("cuda:99", "device 'cuda:99' is not available"),
    ],
)
def test_a_bad_device_is_refused(
    device: str, reason: str, toys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["run", "--plugins", toys, "--out", out, "--device", device, "--explain"]) == 2
    printed = capsys.readouterr().err
    assert reason in printed
    assert printed.count("\n") == 1
