"""Every value that flows between components, and the base class of each kind of component.

Nothing here imports torch, numpy or pandas at run time, so that importing a type is fast. In
shapes, B is the number of images in a batch, h x w the size of a grid, H x W the size of an image,
D the width of an embedding, and M the length of a memory bank.

The base classes declare every member that the harness reads. The author must define each annotation
without a value and each abstract method; the other members have the default that is given here. The
text below a member explains it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from adbench_harness.evaluation import Evaluation
    from adbench_harness.nn.neighbours import Neighbours

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
ProtocolName = Literal["unsupervised", "classification", "zero-shot"]
Unit = Literal["%", "", "count", "s", "ms", "MB"]
"""The unit of a shown number: a fraction in per cent, no unit, a count, or the unit of a cost."""
UNITS: tuple[str, ...] = get_args(Unit)
"""The units of a metric's numbers: a fraction shown in percent, a bare number, and so on."""
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(UNITS, (0.0, math.inf)),
    "%": (0.0, 1.0),
    "": (-math.inf, math.inf),
}
"""The lowest and the highest number of each unit."""
Needs = Literal["image", "map", "classes", "validation", "regions"]
NEEDS: tuple[str, ...] = get_args(Needs)
"""What a metric may need (see ``Metric``)."""
GOOD = "good"


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Sample:
    """One image of a category and what is known about it.

    ``label`` is 0 (normal), 1 (anomalous) or None (unknown); it comes from the data set's
    folders, never from a mask. The ground truth by pixel is the union of ``masks``; metrics of
    regions use each mask separately. An anomalous sample without masks has no ground truth by
    pixel. Samples of one ``group`` (parts of one object) stay in one split. ``extras`` are further
    images of the same object, by name (depth, infrared, other lights). ``saturation`` has, for each
    mask, the area in px that a model must find (None, or an empty tuple: all of it).

    The harness sets the rest when it lists a data set: ``depth`` is the number of bits of the
    image's values if its file stores 16, and ``mask_rules`` are the rules by which masks are read
    if these are not the plain one (``images.masks``).
    """

    image: Path
    split: Split
    label: int | None
    masks: tuple[Path, ...] = ()
    defect: str = GOOD
    group: str | None = None
    extras: Mapping[str, Path] = field(default_factory=dict, hash=False)
    saturation: tuple[float | None, ...] = ()
    depth: int = 8
    mask_rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archive:
    """A file that ``fetch`` downloads, with its sha256 (or md5 if only that is published).

    If ``url`` is None, the file must be downloaded by hand from the data set's ``page``. ``file``
    is its name if the address does not end in it. ``gigabytes`` (1e9 bytes) is its size if that is
    published.
    """

    url: str | None
    sha256: str | None = None
    md5: str | None = None
    file: str = ""
    gigabytes: float | None = None

    @property
    def name(self) -> str:
        """The file name under which the archive is kept until it is unpacked."""
        return self.file or (self.url or "").rpartition("/")[2]


@dataclass(frozen=True)
class InputSpec:
    """How an image of any size becomes a model's input; the harness also undoes it for maps.

    ``resize`` is the length in px of the shorter side (``aspect="keep"``) or of both sides
    (``aspect="squash"``), or a (height, width) to which every image is squashed. The centre of the
    result is then cropped to ``crop``, a side or a (height, width) in px. If ``crop`` is None,
    nothing is cropped, and an image that is not square is squashed, so that images can be batched.
    Raises ValueError for a crop that does not fit.
    """

    resize: int | tuple[int, int] = 256
    crop: int | tuple[int, int] | None = 224
    aspect: Literal["keep", "squash"] = "keep"

    def __post_init__(self) -> None:
        for whole, part in zip(_pair(self.resize), self.size, strict=True):
            if whole < 1 or not 1 <= part <= whole:
                raise ValueError(
                    f"a crop of {written(self.size)} px does not fit into {written(self.resize)} "
                    "px; make it smaller, or leave it out (crop=none)"
                )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in px."""
        return _pair(self.resize if self.crop is None else self.crop)


def _pair(side: int | tuple[int, int]) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side


def written(side: int | tuple[int, int]) -> int | str:
    """A size in px as people and suites write it: 256, or 256x320 (height x width)."""
    height, width = _pair(side)
    return height if height == width else f"{height}x{width}"


@dataclass(frozen=True, eq=False)
class Batch:
    """Images as augmenters, backbones and models see them.

    ``images``: float32 RGB in [0, 1], [B, 3, H, W]. ``seeds``: int64 [B], the only source of
    randomness in ``predict``. ``classes``: int64 [B] indices into ``TrainSet.classes`` or None
    if the protocol hides them. ``handles`` name unaltered images whose backbone features may be
    cached; they are None once the images have been changed. ``categories`` [B] and ``extras``
    (float32 [B, C, H, W] by name) are given to models that declare ``category_names`` or
    ``extras``.
    """

    images: Tensor
    seeds: Tensor
    classes: Tensor | None = None
    handles: tuple[int, ...] | None = None
    categories: tuple[str, ...] = ()
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.images.shape[0])


class ImageSet(Protocol):
    """Images that can be iterated over any number of times."""

    def __len__(self) -> int: ...

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches of ``size`` images (None: the harness chooses), shuffled by ``generator``."""
        ...


class TrainSet(ImageSet, Protocol):
    """The training images, with what the protocol allows: held-out normal images, class names.

    ``categories`` are the names of the images' categories, for a model that declares
    ``category_names``.
    """

    @property
    def validation(self) -> ImageSet: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def categories(self) -> tuple[str, ...]: ...


# ---------------------------------------------------------------- ports


class Port:
    """The base class of what models emit and scorers accept: a frozen dataclass of tensors.

    Its float tensors, including those in tuples and dataclasses, are finite and have an entry for
    each image of the batch. The fields named in ``shared`` have no entry for each image.
    """

    shared: ClassVar[tuple[str, ...]] = ()
    """Fields that belong to no single image, such as the model's memory bank."""
    dimensions: ClassVar[int | None] = None
    """Number of dimensions of each tensor, if it is fixed."""
    finite: ClassVar[bool] = True
    """Whether every value must be finite; False skips the check of a large tensor."""


@dataclass(frozen=True, eq=False)
class Level:
    """One grid of a spatial port: ``values`` [B, h, w] or [B, h, w, D].

    ``box`` is the rectangle of the input that it covers (top, left, bottom, right in px; None:
    all of it). ``valid`` bool [h, w] marks the cells whose values are valid (None: all of them).
    """

    shared: ClassVar[tuple[str, ...]] = ("box", "valid")

    values: Tensor
    box: tuple[int, int, int, int] | None = None
    valid: Tensor | None = None


@dataclass(frozen=True, eq=False)
class PatchEmbeddings(Port):
    """Embeddings of patches, levels [B, h, w, D], finest first."""

    dimensions: ClassVar[int | None] = 4

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class PatchBank(Port):
    """The model's stored normal patches: a searchable bank [M, D] for each level."""

    shared: ClassVar[tuple[str, ...]] = ("levels",)

    levels: tuple[Neighbours, ...]


@dataclass(frozen=True, eq=False)
class PatchGaussian(Port):
    """For each level, the mean [h, w, D] or [D] of normal patches, and the precision.

    The precision is [h, w, D, D] or [D, D].
    """

    shared: ClassVar[tuple[str, ...]] = ("levels",)

    levels: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, eq=False)
class Latents(Port):
    """What a normalizing flow makes of the features: levels [B, h, w, D], finest first.

    Those of normal images follow a standard normal distribution. The latents of a whole image are a
    level of one cell.
    """

    dimensions: ClassVar[int | None] = 4

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class LogDeterminants(Port):
    """How much the flow changes volume, for each level of ``Latents``: levels [B, h, w].

    The log-determinant of an image's Jacobian is their sum over cells and levels.
    """

    dimensions: ClassVar[int | None] = 3

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class ImageEmbeddings(Port):
    """One embedding for each image, [B, D]."""

    dimensions: ClassVar[int | None] = 2

    values: Tensor


@dataclass(frozen=True, eq=False)
class ImageBank(Port):
    """The embeddings of the model's stored normal images: a searchable bank [N, D]."""

    shared: ClassVar[tuple[str, ...]] = ("values",)

    values: Neighbours


@dataclass(frozen=True, eq=False)
class Reconstruction(Port):
    """The input [B, 3, H, W] and its reconstructions, each [B, 3, h, w], finest first."""

    dimensions: ClassVar[int | None] = 4
    finite: ClassVar[bool] = False

    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class AnomalyMap(Port):
    """The model's own anomaly maps, levels [B, h, w]; higher is more anomalous."""

    dimensions: ClassVar[int | None] = 3

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class ImageScore(Port):
    """The model's own image scores, [B]; higher is more anomalous."""

    dimensions: ClassVar[int | None] = 1

    values: Tensor


@dataclass(frozen=True, eq=False)
class DefectLogits(Port):
    """Unnormalised class scores [B, C]; ``classes`` names the columns."""

    dimensions: ClassVar[int | None] = 2

    values: Tensor
    classes: tuple[str, ...]


P = TypeVar("P")


class Outputs:
    """What a model returns for a batch: one value of each port.

    >>> Outputs((224, 224), AnomalyMap(levels))[AnomalyMap].levels
    """

    input_size: tuple[int, int]
    """Height and width of the input in px."""
    ports: dict[type[Port], Port]
    """The values by port type."""
    classes: Tensor | None
    """The batch's classes, int64 [B], which the harness copies here for a scorer's ``fit``."""

    def __init__(
        self, input_size: tuple[int, int], *ports: Port, classes: Tensor | None = None
    ) -> None:
        self.input_size = input_size
        self.ports = {type(port): port for port in ports}
        self.classes = classes

    def __getitem__(self, port: type[P]) -> P:
        """The value of a port."""
        return self.ports[port]  # type: ignore[index, return-value]  # keyed by its own type


class TrainOutputs(Protocol):
    """What a scorer's ``fit`` gets: a model's outputs for the training images, batch by batch.

    They can be iterated over any number of times; ``predict`` runs again each time. ``validation``
    has the outputs for the held-out normal images. ``classes`` names the indices in
    ``Outputs.classes`` if the protocol shows them; otherwise it is empty.
    """

    def __iter__(self) -> Iterator[Outputs]: ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    @property
    def validation(self) -> Iterable[Outputs]: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False)
class Scores:
    """A scorer's results for a batch: raw, finite float32; higher is more anomalous.

    At least one is present: ``image`` [B], ``map`` [B, h, w] over the whole input rectangle, or
    ``classes`` [B, C], which are probabilities in the order of ``class_names``.
    """

    image: Tensor | None = None
    map: Tensor | None = None
    classes: Tensor | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Augmented:
    """A batch whose ``images`` were changed only in the pixels under ``masks`` (bool [B, H, W]).

    ``kind`` int64 [B] is 0 for an image that was left clean, otherwise 1 + an index into ``kinds``.
    """

    images: Tensor
    masks: Tensor
    kind: Tensor


# ---------------------------------------------------------------- what fit gets


class Features(Protocol):
    """A frozen backbone: batch -> a grid [B, C, h, w] (or a vector [B, C]) for each layer."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class FeatureRequest:
    """The backbone layers that a model will request; one pass serves all models of a bundle.

    ``input`` is the backbone's input if it differs from the model's.
    """

    backbone: str
    layers: tuple[str, ...]
    input: InputSpec | None = None


class Checkpoint(Protocol):
    """Saves the state of a training, so that it can continue after an interruption."""

    def load(self) -> dict[str, Any] | None:
        """The last state that this training saved, or None."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state (tensors, numbers, strings, and containers of them)."""
        ...


@dataclass(frozen=True)
class Tools:
    """Everything that ``fit`` gets besides ``train``.

    ``generator`` is on the CPU, so that the same seed draws the same numbers on every device.
    ``features`` returns a frozen backbone's layers. ``trainable`` returns a copy of the same
    network, with the same weights, that may be trained (images [B, 3, H, W] in [0, 1] -> dict of
    the layers). ``auxiliary`` returns the images of an auxiliary data set by its name. ``weights``
    returns the path of one of the model's own files of weights by its file name. ``progress`` takes
    (done, total). ``log`` takes (curve, value) and adds a point to a curve that is stored with the
    result, such as a loss.
    """

    device: torch.device
    generator: torch.Generator
    augmenter: Augmenter | None
    features: Callable[[FeatureRequest], Features]
    trainable: Callable[[FeatureRequest], torch.nn.Module]
    auxiliary: Callable[[str], ImageSet]
    weights: Callable[[str], Path]
    progress: Callable[[int, int], None]
    log: Callable[[str, float], None]
    checkpoint: Checkpoint


# ---------------------------------------------------------------- components


class Component:
    """The members that every component class has.

    Constructor parameters are typed, keyword-only and have defaults. The constructor does no work.
    """

    name: ClassVar[str]
    """The component's name in a suite: lower-case letters, digits, ``-_.%``."""
    summary: ClassVar[str]
    """One sentence, which lists show."""
    version: ClassVar[int]
    """It must be raised whenever the component's numbers may change."""
    paper: ClassVar[str | None] = None
    """Authors, title, venue and year of the paper it implements."""
    default: ClassVar[bool] = True
    """If False, the component runs only if it is named."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of parameters that differ from the paper's; the first one is used by default."""
    younger: ClassVar[frozenset[str]] = frozenset()
    """Parameters that came after results were stored: a trial that uses their default has the id
    that it had without them."""
    xfail: ClassVar[Mapping[str, str]] = {}
    """Conformance checks that it cannot pass, each with the reason."""
    check_parameters: ClassVar[Mapping[str, Any]] = {}
    """Parameters for the conformance checks, which make them fast."""


class Dataset(Component):
    """Lists the samples of each category."""

    license: ClassVar[str]
    """The terms of use in a few words."""
    role: ClassVar[Literal["benchmark", "auxiliary"]] = "benchmark"
    """The images of an ``auxiliary`` data set are only trained on, never tested on."""
    archives: ClassVar[tuple[Archive, ...]] = ()
    """What ``adbench data fetch`` downloads."""
    page: ClassVar[str] = ""
    """The address of the page with its terms."""
    mask_threshold: int | None = 0
    """Pixels of a mask above this value are anomalous. None: each mask has a threshold of its own,
    from its values (``images.masks``)."""
    depth: int | None = None
    """Bits of the values of images whose files store 16. None: as few as hold the values of the
    training images."""
    empty_masks: ClassVar[Mapping[str, int]] = {}
    """By category, the number of anomalous images that are published with an empty mask."""

    @abstractmethod
    def categories(self, root: Path) -> Sequence[str]:
        """The categories under ``root``; raises UserError if the layout is not found."""

    @abstractmethod
    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        """The category's samples; a split that is not official is drawn from ``split_seed``."""

    def build(self, root: Path) -> Path | None:
        """Make the images under ``root`` and return their folder; None if they must be fetched."""
        return None

    def published(self) -> Mapping[str, int]:
        """The published number of images by category; empty if none is known."""
        return {}

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """How the samples differ from what was published, in words, or None."""
        return None

    def notes(self, root: Path, category: str, samples: Sequence[Sample]) -> Sequence[str]:
        """What the plan, the board and ``verify`` say of the samples, a sentence each.

        Files that were left out, for example.
        """
        return ()


class Preprocessor(Component):
    """Changes an image, uint8 RGB [H, W, 3], but not its geometry.

    It is applied to training and test images alike, and sees no labels or masks.
    """

    def fit(self, images: Iterable[NDArray[np.uint8]]) -> Any:
        """Learn from the normal training images; by default there is nothing to learn."""

    @abstractmethod
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The changed image, in the shape and type of ``image``, which is left as it is."""


class Augmenter(Component):
    """Draws pseudo-anomalies into a clean batch, during training only."""

    kinds: ClassVar[tuple[str, ...]]
    """Names of the kinds of pseudo-anomalies, in the order of ``Augmented.kind``."""
    auxiliary: tuple[str, ...] = ()
    """Auxiliary data sets that it will ask ``tools`` for."""

    def fit(self, train: TrainSet, tools: Tools) -> Any:
        """Compute what is needed only once, such as superpixels; by default nothing."""

    @abstractmethod
    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        """The batch with pseudo-anomalies, drawn from ``generator`` alone."""


class Model(Component):
    """Fits on a training set, then turns batches into ports.

    An ``nn.Module`` or a Lightning module may be a model: ``class Mine(nn.Module, Model)``.
    """

    emits: frozenset[type[Port]]
    """The ports that ``predict`` returns."""
    input: InputSpec
    """How images become its input."""
    protocols: frozenset[ProtocolName] = frozenset({"unsupervised"})
    """The protocols that it supports. Unsupervised models must also accept few-shot and unified
    training sets; ``zero-shot`` is for models whose ``fit`` needs no images."""
    augmentation: Literal["required", "optional", "none"] = "none"
    """Whether it trains on an augmenter's pseudo-anomalies."""
    feature_requests: tuple[FeatureRequest, ...] = ()
    """The frozen backbones' layers that it will ask ``tools`` for."""
    weights: tuple[WeightFile, ...] = ()
    """Its own files of weights, which are found and hashed like a backbone's."""
    auxiliary: tuple[str, ...] = ()
    """Auxiliary data sets that it will ask ``tools`` for."""
    extras: tuple[str, ...] = ()
    """Names of further images of each sample that its batches must contain, such as depth."""
    category_names: bool = False
    """Whether it needs the names of its images' categories, for example for prompts."""
    transductive: bool = False
    """Whether a score depends on other test images; its rows are marked."""
    updates_in_predict: bool = False
    """Whether ``predict`` changes what it has learned; if so, costs are measured on a copy."""

    @abstractmethod
    def fit(self, train: TrainSet, tools: Tools) -> Any:
        """Learn from ``train``, and forget what an earlier call learned."""

    @abstractmethod
    def predict(self, batch: Batch) -> Outputs:
        """The ports of a batch; gradients are off unless the method turns them on."""

    def learned(self) -> Iterable[Tensor] | None:
        """The tensors that its row counts as parameters; None: all tensors that ``fit`` set."""
        return None

    def chosen(self) -> Mapping[str, str | int | float]:
        """By name, the parameters whose values ``fit`` chose; the row shows them."""
        return {}

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> Any:
        """Create again the modules that ``fit`` created, before ``state`` is loaded into them.

        The harness stores the attributes that ``fit`` set (tensors, modules, memory banks and
        plain values) and sets them on a fresh instance. Only a module that ``fit`` creates has to
        be created here; ``state`` holds the plain values and tensors by attribute.
        """


class Scorer(Component):
    """Turns a model's ports into scores."""

    accepts: frozenset[type[Port]]
    """The ports that it needs."""
    transductive: bool = False
    """Whether a score depends on other test images; its rows are marked."""

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> Any:
        """Learn from the training images' outputs; by default there is nothing to learn."""

    def adapt(self, outputs: Iterable[Outputs]) -> Any:
        """Learn from the outputs for all test images, before any of them is scored.

        It is called once, after ``fit``, and only if the scorer is transductive. ``outputs`` can be
        iterated over once. By default there is nothing to learn.
        """

    @abstractmethod
    def score(self, outputs: Outputs) -> Scores:
        """The scores of a batch."""

    def rebuild(self, state: Mapping[str, Any]) -> Any:
        """Like ``Model.rebuild``."""


@dataclass(frozen=True)
class WeightFile:
    """Published weights: address, file name, sha256 (or its published prefix), license.

    If no sha256 is published (None), the file cannot be verified, and its rows are marked. If an
    installed Python distribution contains the file, ``distribution`` is its name: then nothing is
    downloaded, and ``url`` is its page.
    """

    url: str
    filename: str
    sha256: str | None
    license: str
    distribution: str | None = None


class Backbone(Component):
    """A network with named layers."""

    layers: ClassVar[tuple[str, ...]]
    """Names of the layers that a model may ask for."""
    weights: ClassVar[WeightFile | None] = None
    """Its published weights; None means that it needs no file."""

    @abstractmethod
    def network(self, layers: tuple[str, ...]) -> torch.nn.Module:
        """An untrained module: float32 RGB in [0, 1], [B, 3, H, W] -> dict of the named layers.

        It normalises its input itself and has only the parameters that ``layers`` need.
        """


COMPONENTS: Mapping[str, type[Component]] = {
    "augmenter": Augmenter,
    "backbone": Backbone,
    "dataset": Dataset,
    "model": Model,
    "preprocessor": Preprocessor,
    "scorer": Scorer,
}
"""The base class of each kind of component."""


def overrides(component: Component, method: str) -> bool:
    """Whether the author replaced the base class's default of ``method``."""
    base = next(base for base in COMPONENTS.values() if isinstance(component, base))
    return getattr(type(component), method) is not getattr(base, method)


# ---------------------------------------------------------------- plain values


@dataclass(frozen=True)
class Metric:
    """A number that is computed from scores and ground truth.

    ``needs`` names what must be present: "image" (image scores), "validation" (also those of
    held-out normal images), "map" (maps and masks), "regions" (also each mask separately) or
    "classes". ``defects`` are the defect types that test images must show, each at least one
    (empty: any). A result lacks the metric if something is missing, or if its value is nan.
    ``chance`` returns the metric's value for constant scores, given the share of anomalous images;
    it is None if the metric is not a ranking metric. ``interval`` computes the ends of a 95%
    confidence interval from the same test images. ``title`` is the heading of its column (empty:
    its name), and ``unit`` says how its numbers are shown and what they may be: a fraction ("%") is
    between 0 and 1, and only a number without a unit may be negative. If ``default`` is False, a
    run computes the metric only if it is named.
    """

    name: str
    summary: str
    compute: Callable[[Evaluation], float]
    needs: Needs
    higher_is_better: bool = True
    chance: Callable[[float], float] | None = None
    interval: Callable[[Evaluation], tuple[float, float]] | None = None
    version: int = 1
    title: str = ""
    unit: Unit = "%"
    defects: tuple[str, ...] = ()
    default: bool = True


@dataclass(frozen=True)
class Recipe:
    """A paper's settings under one name: a part of a suite, written as in a suite file."""

    name: str
    summary: str
    suite: Mapping[str, Any]


@dataclass(frozen=True)
class Reported:
    """One printed number (a fraction, unless the metric is a count) and its place in the paper.

    ``category`` "mean" is the mean over as many categories as ``categories`` says. ``marks`` say
    what is wrong with it and become footnotes: "misprint", "not-reproducible", "test-selected" or
    "transductive" (which exclude it from comparisons), "printed-as-METRIC" if it is printed under
    the heading of another metric, or the plugin's own words.
    """

    method: str
    dataset: str
    category: str
    metric: str
    value: float
    source: str
    recipe: str | None = None
    marks: tuple[str, ...] = ()
    categories: int = 1


Components = Iterable[type[Component]]
