"""Every value that flows between components, and the base class of each kind of component.

Nothing here imports torch, numpy or pandas at run time, so that naming a type costs nothing.
B is the batch, h x w a grid, H x W an image, D an embedding's width, M a memory bank's length.

The base classes declare every member that the harness looks at. An annotation without a value and
an abstract method must be defined by the author; the others have the default that stands here. The
text below a member says what it means.
"""

from __future__ import annotations

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
"""How a number is shown: a fraction in per cent, as it is, a count, or a cost in its unit."""
GOOD = "good"


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Sample:
    """One image of a category and what is known about it.

    ``label`` is 0 (normal), 1 (anomalous) or None (unknown); it comes from the data set's
    folders, never from a mask. ``masks`` are united, except for metrics of separate regions; an
    anomalous sample without masks has no pixel truth. Samples of one ``group`` (parts of one
    object) stay in one split. ``extras`` are further images of the same object by name (depth,
    infrared, other lights). ``saturation`` is, for each mask, the area in px that is enough to
    find (None, or an empty tuple: all of it).
    """

    image: Path
    split: Split
    label: int | None
    masks: tuple[Path, ...] = ()
    defect: str = GOOD
    group: str | None = None
    extras: Mapping[str, Path] = field(default_factory=dict, hash=False)
    saturation: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Archive:
    """A file that ``fetch`` downloads, with its sha256 (or md5 where only that is published).

    ``url`` None: only a person gets it, from the data set's ``page``. ``file`` is its name where
    the address does not end in it, ``gigabytes`` (1e9 bytes) its size where that is published.
    """

    url: str | None
    sha256: str | None = None
    md5: str | None = None
    file: str = ""
    gigabytes: float | None = None

    @property
    def name(self) -> str:
        """The name under which it is kept until it is unpacked."""
        return self.file or (self.url or "").rpartition("/")[2]


@dataclass(frozen=True)
class InputSpec:
    """How an image of any size becomes a model's input; the harness applies it and undoes it.

    ``resize`` px is the shorter side (``aspect="keep"``) or both sides (``aspect="squash"``), or
    a (height, width) to which every image is squashed; then the centre ``crop`` (a side or a
    (height, width) in px) is taken, or all of it where ``crop`` is None (an image that is not
    square is squashed then, so that images can be batched). Raises ValueError for a crop that
    does not fit.
    """

    resize: int | tuple[int, int] = 256
    crop: int | tuple[int, int] | None = 224
    aspect: Literal["keep", "squash"] = "keep"

    def __post_init__(self) -> None:
        for whole, part in zip(_pair(self.resize), self.size, strict=True):
            if whole < 1 or not 1 <= part <= whole:
                raise ValueError(
                    f"a crop of {written(self.size)} px does not fit into {written(self.resize)} px"
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
    where the protocol hides them. ``handles`` name unaltered images whose backbone features may
    be cached; None once the images were changed. ``categories`` [B] and ``extras`` (float32
    [B, C, H, W] by name) are there for a model that declares ``category_names`` or ``extras``.
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
    """Images that can be walked any number of times."""

    def __len__(self) -> int: ...

    def batches(
        self, size: int | None = None, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches of ``size`` images (None: as the harness likes), shuffled by ``generator``."""
        ...


class TrainSet(ImageSet, Protocol):
    """What a protocol lets ``fit`` see: clean images, held-out normals, class names if allowed.

    ``categories`` are those of the images, for a model that declares ``category_names``.
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

    Its float tensors, also those within tuples and dataclasses, have an entry for each image of
    the batch and are finite, but for the fields named in ``shared``.
    """

    shared: ClassVar[tuple[str, ...]] = ()
    """Fields that no single image owns, such as what the model learned."""
    dimensions: ClassVar[int | None] = None
    """Number of dimensions of each tensor, where it is fixed."""
    finite: ClassVar[bool] = True
    """Whether every value must be finite; False saves the check of a large tensor."""


@dataclass(frozen=True, eq=False)
class Level:
    """One grid of a spatial port: ``values`` [B, h, w] or [B, h, w, D].

    ``box`` is the rectangle of the input that it covers (top, left, bottom, right in px; None:
    all of it). ``valid`` bool [h, w] marks the cells that mean something (None: all of them).
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
    """The model's stored normal patches: a searchable bank [M, D] a level."""

    shared: ClassVar[tuple[str, ...]] = ("levels",)

    levels: tuple[Neighbours, ...]


@dataclass(frozen=True, eq=False)
class PatchGaussian(Port):
    """Per level mean [h, w, D] or [D], and precision [h, w, D, D] or [D, D], of normal patches."""

    shared: ClassVar[tuple[str, ...]] = ("levels",)

    levels: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, eq=False)
class ImageEmbeddings(Port):
    """One embedding an image, [B, D]."""

    dimensions: ClassVar[int | None] = 2

    values: Tensor


@dataclass(frozen=True, eq=False)
class ImageBank(Port):
    """The model's stored normal images, searchable [N, D]."""

    shared: ClassVar[tuple[str, ...]] = ("values",)

    values: Neighbours


@dataclass(frozen=True, eq=False)
class Reconstruction(Port):
    """The input [B, 3, H, W] beside its reconstructions, each [B, 3, h, w], finest first."""

    dimensions: ClassVar[int | None] = 4
    finite: ClassVar[bool] = False

    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class AnomalyMap(Port):
    """Maps of the model's own, levels [B, h, w]; higher is more anomalous."""

    dimensions: ClassVar[int | None] = 3

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class ImageScore(Port):
    """A score of the model's own, [B]; higher is more anomalous."""

    dimensions: ClassVar[int | None] = 1

    values: Tensor


@dataclass(frozen=True, eq=False)
class DefectLogits(Port):
    """Unnormalised class scores [B, C], columns named by ``classes``."""

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
    """The values by their types."""
    classes: Tensor | None
    """Those of the batch, int64 [B], which the harness copies here for a scorer's ``fit``."""

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

    They can be walked any number of times; each walk runs ``predict`` again. ``validation`` are
    those for the held-out normal images. ``classes`` names the indices in ``Outputs.classes``
    where the protocol shows them; otherwise it is empty.
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
    """A scorer's verdict; raw, finite float32, higher is more anomalous; at least one is present.

    ``image`` [B], ``map`` [B, h, w] over the whole input rectangle, ``classes`` [B, C]
    probabilities in the order of ``class_names``.
    """

    image: Tensor | None = None
    map: Tensor | None = None
    classes: Tensor | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Augmented:
    """``images`` as given but for the pixels under ``masks`` (bool [B, H, W]).

    ``kind`` int64 [B] is 0 where an image was left clean, else 1 + an index into ``kinds``.
    """

    images: Tensor
    masks: Tensor
    kind: Tensor


# ---------------------------------------------------------------- what fit gets


class Features(Protocol):
    """A frozen backbone: batch -> a grid [B, C, h, w] (or a vector [B, C]) for each layer asked."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class FeatureRequest:
    """The backbone layers a model will ask for, so that one pass serves every model of a bundle.

    ``input`` is the backbone's input where it is not the model's own.
    """

    backbone: str
    layers: tuple[str, ...]
    input: InputSpec | None = None


class Checkpoint(Protocol):
    """Where a training may save its state, to go on after an interruption."""

    def load(self) -> dict[str, Any] | None:
        """The state last saved by this same training, or None."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state (tensors, numbers, strings, and containers of them)."""
        ...


@dataclass(frozen=True)
class Tools:
    """All that ``fit`` gets besides ``train``.

    ``generator`` lives on the CPU, so that the same seed draws the same numbers on every device.
    ``features`` gives a frozen backbone's layers; ``trainable`` a copy of the same network, with
    the same weights, that may be trained (images [B, 3, H, W] in [0, 1] -> dict of the layers);
    ``auxiliary`` the images of an auxiliary data set by name; ``weights`` the file of weights of
    the model's own by its file name; ``progress`` takes (done, total); ``log`` (curve, value)
    adds a point to a curve that is stored with the result, a loss say.
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
    """What every component class carries; its parameters are typed, keyword-only, defaulted.

    Construction does no work.
    """

    name: ClassVar[str]
    """The name by which a suite asks for it: lower-case letters, digits, ``-_.%``."""
    summary: ClassVar[str]
    """One sentence for lists."""
    version: ClassVar[int]
    """Grows when the component's numbers may change."""
    paper: ClassVar[str | None] = None
    """Authors, title, venue and year of the paper it implements."""
    default: ClassVar[bool] = True
    """False keeps it out of an axis on which nobody named it."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of parameters that differ from the paper's; where none is named, the first."""
    xfail: ClassVar[Mapping[str, str]] = {}
    """Conformance checks that it cannot meet, each with the reason."""
    check_parameters: ClassVar[Mapping[str, Any]] = {}
    """Parameters that make it quick to check."""


class Dataset(Component):
    """Lists the samples of each category."""

    license: ClassVar[str]
    """The terms of use in a few words."""
    role: ClassVar[Literal["benchmark", "auxiliary"]] = "benchmark"
    """``auxiliary``: images to train on only, never tested on."""
    archives: ClassVar[tuple[Archive, ...]] = ()
    """What ``adbench data fetch`` downloads."""
    page: ClassVar[str] = ""
    """The address of its terms."""
    mask_threshold: ClassVar[int] = 0
    """A pixel of a mask above it is anomalous."""
    empty_masks: ClassVar[Mapping[str, int]] = {}
    """By category, how many anomalous images are published with a mask that marks nothing."""

    @abstractmethod
    def categories(self, root: Path) -> Sequence[str]:
        """The categories under ``root``; raises UserError where the layout is not there."""

    @abstractmethod
    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        """The category's samples; a split that is not official is drawn from ``split_seed``."""

    def build(self, root: Path) -> Path | None:
        """Make the images under ``root`` and return their folder; None: they must be fetched."""
        return None

    def published(self) -> Mapping[str, int]:
        """The published number of images by category; empty where none is known."""
        return {}

    def departure(self, category: str, samples: Sequence[Sample]) -> str | None:
        """How the samples differ from what was published, in words, or None."""
        return None


class Preprocessor(Component):
    """Image -> image, uint8 RGB [H, W, 3], same geometry, on train and test alike.

    It sees no labels or masks.
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
        """Compute what is needed once (superpixels, say); by default nothing."""

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
    """What it can learn from. Unsupervised models also take few shots and unified training sets;
    ``zero-shot`` is for those whose ``fit`` needs no image."""
    augmentation: Literal["required", "optional", "none"] = "none"
    """Whether it trains on an augmenter's pseudo-anomalies."""
    feature_requests: tuple[FeatureRequest, ...] = ()
    """The frozen backbones' layers that it will ask ``tools`` for."""
    weights: tuple[WeightFile, ...] = ()
    """Files of weights of its own, which are found and hashed like a backbone's."""
    auxiliary: tuple[str, ...] = ()
    """Auxiliary data sets that it will ask ``tools`` for."""
    extras: tuple[str, ...] = ()
    """Further images of each sample that its batches must hold, by name (depth, say)."""
    category_names: bool = False
    """Whether it wants to know its images' categories, for prompts say."""
    transductive: bool = False
    """Whether a score depends on other test images; its rows are marked."""
    updates_in_predict: bool = False
    """Whether ``predict`` changes what it has learned; costs are measured on a copy then."""

    @abstractmethod
    def fit(self, train: TrainSet, tools: Tools) -> Any:
        """Learn from ``train``; forgets what an earlier call learned."""

    @abstractmethod
    def predict(self, batch: Batch) -> Outputs:
        """The ports of a batch; gradients are off, unless it turns them on for itself."""

    def learned(self) -> Iterable[Tensor] | None:
        """The tensors that its row counts as parameters; None: all that ``fit`` set."""
        return None

    def rebuild(self, state: Mapping[str, Any], tools: Tools) -> Any:
        """Make again the modules that ``fit`` made, before ``state`` is put into them.

        The harness stores the attributes that ``fit`` set (tensors, modules, memory banks and
        plain values) and sets them on a fresh instance. Only a module that ``fit`` creates has to
        be created here; ``state`` holds the plain values and tensors by attribute.
        """


class Scorer(Component):
    """Ports -> scores."""

    accepts: frozenset[type[Port]]
    """The ports that it needs."""
    transductive: bool = False
    """Whether a score depends on other test images; its rows are marked."""

    def fit(self, outputs: TrainOutputs, generator: torch.Generator) -> Any:
        """Learn from the training images' outputs; by default there is nothing to learn."""

    @abstractmethod
    def score(self, outputs: Outputs) -> Scores:
        """The scores of a batch."""

    def rebuild(self, state: Mapping[str, Any]) -> Any:
        """As ``Model.rebuild``."""


@dataclass(frozen=True)
class WeightFile:
    """Published weights: address, file name, sha256 (or its published prefix), license.

    Without a published sha256 (None) no file can be verified, and its rows bear a mark.
    """

    url: str
    filename: str
    sha256: str | None
    license: str


class Backbone(Component):
    """A network with named layers."""

    layers: ClassVar[tuple[str, ...]]
    """Names of the layers that a model may ask for."""
    weights: ClassVar[WeightFile | None] = None
    """Its published weights; None means that it needs no file."""

    @abstractmethod
    def network(self, layers: tuple[str, ...]) -> torch.nn.Module:
        """An untrained module: float32 RGB in [0, 1], [B, 3, H, W] -> dict of the named layers.

        It normalises its input itself and holds no parameter that ``layers`` do not need.
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
    """Whether the author defined ``method``, which the base class has a default for."""
    base = next(base for base in COMPONENTS.values() if isinstance(component, base))
    return getattr(type(component), method) is not getattr(base, method)


# ---------------------------------------------------------------- plain values


@dataclass(frozen=True)
class Metric:
    """A number from scores and ground truth.

    ``needs`` names what must be present: "image" (image scores), "validation" (also those of
    held-out normal images), "map" (maps and masks), "regions" (also each mask separately) or
    "classes". A result lacks the metric if that is missing, or if its value is nan. ``defects``
    are the defect types that it needs test images of (empty: any). ``chance`` maps the share of
    positives to the value that constant scores earn (ranking metrics); None: not a ranking.
    ``interval`` gives the ends of a 95% confidence interval, from the same test images. ``title``
    heads its column (empty: the name does), ``unit`` says how its numbers are shown. ``default``
    False keeps it out of runs that name no metrics.
    """

    name: str
    summary: str
    compute: Callable[[Evaluation], float]
    needs: Literal["image", "map", "classes", "validation", "regions"]
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
    """A paper's setting by one name: a fragment of a suite, in a suite file's own words."""

    name: str
    summary: str
    suite: Mapping[str, Any]


@dataclass(frozen=True)
class Reported:
    """One printed number (a fraction, unless the metric is a count) and its place in the paper.

    ``category`` "mean" is the mean over as many categories as ``categories`` says. ``marks`` say
    what is wrong with it and become footnotes: "misprint", "not-reproducible", "test-selected" or
    "transductive" (which bar it from a comparison), "printed-as-METRIC" where it stands under the
    heading of another metric, or words of the plugin's own.
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
