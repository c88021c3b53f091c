"""Every value that flows between components: shapes, dtypes, sign conventions, and the protocols.

Nothing here imports torch, numpy or pandas at run time, so that naming a type costs nothing.
B is the batch, h x w a grid, H x W an image, D an embedding's width, M a memory bank's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from adbench_harness.evaluation import Evaluation
    from adbench_harness.nn.neighbours import Neighbours

Part = Literal["train", "validation", "test"]
Split = Literal["unsupervised", "classification"]
GOOD = "good"


# ---------------------------------------------------------------- data


@dataclass(frozen=True)
class Sample:
    """One image of a category and what is known about it.

    ``label`` is 0 (normal), 1 (anomalous) or None (unknown); it comes from the data set's
    folders, never from a mask. ``masks`` are united; an anomalous sample without masks has no
    pixel truth. Samples of one ``group`` (parts of one object) stay in one part of a split.
    """

    image: Path
    part: Part
    label: int | None
    masks: tuple[Path, ...] = ()
    defect: str = GOOD
    group: str | None = None


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

    ``resize`` px is the shorter side (``aspect="keep"``) or both sides (``aspect="squash"``);
    then the centre ``crop`` x ``crop`` px is taken, or all of it where ``crop`` is None (an image
    that is not square is squashed then, so that images can be batched).
    """

    resize: int = 256
    crop: int | None = 224
    aspect: Literal["keep", "squash"] = "keep"

    def __post_init__(self) -> None:
        if self.resize < 1 or not 1 <= (self.crop or self.resize) <= self.resize:
            raise ValueError(f"a crop of {self.crop} px does not fit into {self.resize} px")

    @property
    def side(self) -> int:
        """Side of the square input in px."""
        return self.crop or self.resize


@dataclass(frozen=True, eq=False)
class Batch:
    """Images as augmenters, backbones and models see them.

    ``images``: float32 RGB in [0, 1], [B, 3, H, W]. ``seeds``: int64 [B], the only source of
    randomness in ``predict``. ``classes``: int64 [B] indices into ``TrainSet.classes`` or None
    where the split hides them. ``handles`` name unaltered images whose backbone features may be
    cached; None once the images were changed.
    """

    images: Tensor
    seeds: Tensor
    classes: Tensor | None = None
    handles: tuple[int, ...] | None = None

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
    """What a split lets ``fit`` see: clean images, held-out normals, and class names if allowed."""

    @property
    def validation(self) -> ImageSet: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


# ---------------------------------------------------------------- ports


@dataclass(frozen=True, eq=False)
class Level:
    """One grid of a spatial port: ``values`` [B, h, w] or [B, h, w, D].

    ``box`` is the rectangle of the input that it covers (top, left, bottom, right in px; None:
    all of it). ``valid`` bool [h, w] marks the cells that mean something (None: all of them).
    """

    values: Tensor
    box: tuple[int, int, int, int] | None = None
    valid: Tensor | None = None


@dataclass(frozen=True, eq=False)
class PatchEmbeddings:
    """Embeddings of patches, levels [B, h, w, D], finest first."""

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class PatchBank:
    """The model's stored normal patches: a searchable bank [M, D] a level."""

    levels: tuple[Neighbours, ...]


@dataclass(frozen=True, eq=False)
class PatchGaussian:
    """Per level mean [h, w, D] or [D], and precision [h, w, D, D] or [D, D], of normal patches."""

    levels: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, eq=False)
class ImageEmbeddings:
    """One embedding an image, [B, D]."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class ImageBank:
    """The model's stored normal images, searchable [N, D]."""

    values: Neighbours


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The input [B, 3, H, W] beside its reconstructions, each [B, 3, h, w], finest first."""

    input: Tensor
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class AnomalyMap:
    """Maps of the model's own, levels [B, h, w]; higher is more anomalous."""

    levels: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class ImageScore:
    """A score of the model's own, [B]; higher is more anomalous."""

    values: Tensor


@dataclass(frozen=True, eq=False)
class DefectLogits:
    """Unnormalised class scores [B, C], columns named by ``classes``."""

    values: Tensor
    classes: tuple[str, ...]


Port = (
    PatchEmbeddings
    | PatchBank
    | PatchGaussian
    | ImageEmbeddings
    | ImageBank
    | Reconstruction
    | AnomalyMap
    | ImageScore
    | DefectLogits
)
P = TypeVar("P")


class Outputs:
    """What a model says of a batch: one value a port, and the input's (H, W) in px.

    >>> Outputs((224, 224), AnomalyMap(levels))[AnomalyMap].levels
    """

    def __init__(self, input_size: tuple[int, int], *ports: Port) -> None:
        self.input_size = input_size
        self.ports: dict[type, Port] = {type(port): port for port in ports}

    def __getitem__(self, port: type[P]) -> P:
        return self.ports[port]  # type: ignore[return-value]  # keyed by its own type


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
    """The backbone layers a model will ask for, so that one pass serves every model of a bundle."""

    backbone: str
    layers: tuple[str, ...]


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
    ``features`` gives a frozen backbone's layers, ``trainable`` a copy of the network that may be
    trained (images [B, 3, H, W] in [0, 1] -> dict of the layers); ``auxiliary`` the images of an
    auxiliary data set by name; ``progress`` takes (done, total); ``log`` (curve, value) adds a
    point to a curve that is stored with the result, a loss say.
    """

    device: torch.device
    generator: torch.Generator
    augmenter: Augmenter | None
    features: Callable[[FeatureRequest], Features]
    trainable: Callable[[FeatureRequest], torch.nn.Module]
    auxiliary: Callable[[str], ImageSet]
    progress: Callable[[int, int], None]
    log: Callable[[str, float], None]
    checkpoint: Checkpoint


# ---------------------------------------------------------------- components


class Component(Protocol):
    """What every component class carries; its parameters are typed, keyword-only, defaulted.

    Construction does no work. ``version`` grows when the component's numbers may change.
    ``default`` False keeps a component out of an axis that nobody named. ``presets`` maps names to
    parameters that differ from the paper's, which are the defaults; the first one is used where
    none is named. ``xfail`` maps a conformance check that it cannot meet to the reason, and
    ``check_parameters`` are those that make it quick to check.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str | None]
    version: ClassVar[int]


@runtime_checkable
class Dataset(Component, Protocol):
    """Lists the samples of a category.

    ``role`` "auxiliary" means images only, never tested on. A pixel of a mask above
    ``mask_threshold`` is anomalous. A data set whose images need no download defines
    ``build(root)``, which makes them under ``root`` and returns their folder; one that others
    publish may define ``page``, the address of its terms; ``published()``, its number of images
    by category; ``departure(category, samples)``, how these differ from it, in words or None; and
    ``empty_masks``, how many of a category's anomalous images have a mask that marks nothing.
    """

    licence: ClassVar[str]
    role: ClassVar[Literal["benchmark", "auxiliary"]]
    archives: ClassVar[tuple[Archive, ...]]
    mask_threshold: ClassVar[int]

    def categories(self, root: Path) -> Sequence[str]:
        """The categories under ``root``; raises UserError where the layout is not there."""
        ...

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        """The category's samples; a split that is not official is drawn from ``split_seed``."""
        ...


@runtime_checkable
class Preprocessor(Component, Protocol):
    """Image -> image, uint8 RGB [H, W, 3], same geometry, on train and test alike.

    It sees no labels or masks. It may define ``fit(images)`` over the training normals.
    """

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]: ...


@runtime_checkable
class Augmenter(Component, Protocol):
    """Draws pseudo-anomalies into a clean batch, during training only.

    It may define ``fit(train, tools)`` for what is computed once (superpixels, say).
    """

    kinds: ClassVar[tuple[str, ...]]

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented: ...


@runtime_checkable
class Model(Component, Protocol):
    """Fits on a training set, then turns batches into ports.

    ``emits`` are the port classes of its outputs; ``protocols`` the splits it can learn from;
    ``augmentation`` says whether it trains on an augmenter's pseudo-anomalies. It may declare
    ``features``, a tuple of FeatureRequests, and ``learned()``, the tensors that it carries once
    fitted.
    """

    emits: frozenset[type]
    protocols: frozenset[Split]
    augmentation: Literal["required", "optional", "none"]

    @property
    def input(self) -> InputSpec: ...

    def fit(self, train: TrainSet, tools: Tools) -> Any: ...

    def predict(self, batch: Batch) -> Outputs: ...


@runtime_checkable
class Scorer(Component, Protocol):
    """Ports -> scores. It may define ``fit(outputs)`` over the training outputs, an iterable."""

    accepts: frozenset[type]

    def score(self, outputs: Outputs) -> Scores: ...


@dataclass(frozen=True)
class WeightFile:
    """Published weights: address, file name, sha256 (or its published prefix), licence.

    Without a published sha256 (None) no file can be verified, and its rows bear a mark.
    """

    url: str
    filename: str
    sha256: str | None
    licence: str


@runtime_checkable
class Backbone(Component, Protocol):
    """A network with named layers; ``weights`` None means that it needs no file."""

    layers: ClassVar[tuple[str, ...]]
    weights: ClassVar[WeightFile | None]

    def network(self, layers: tuple[str, ...]) -> torch.nn.Module:
        """An untrained module: float32 RGB in [0, 1], [B, 3, H, W] -> dict of the named layers.

        It normalises its input itself and holds no parameter that ``layers`` do not need.
        """
        ...


# ---------------------------------------------------------------- plain values


@dataclass(frozen=True)
class Metric:
    """A number from scores and ground truth.

    ``needs`` names what must be present: "image", "map" or "classes". ``chance`` maps the share
    of positives to the value that constant scores earn (ranking metrics); None: not a ranking.
    ``interval`` gives the ends of a 95% confidence interval, from the same test images.
    """

    name: str
    summary: str
    compute: Callable[[Evaluation], float]
    needs: Literal["image", "map", "classes"]
    higher_is_better: bool = True
    chance: Callable[[float], float] | None = None
    interval: Callable[[Evaluation], tuple[float, float]] | None = None
    version: int = 1


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
