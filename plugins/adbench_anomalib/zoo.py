"""anomalib's registry of image models, each as an adbench model class.

Models of later versions are included automatically: name, summary, parameters and input size are
read from the model. The tables here have what cannot be read.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final

import anomalib.models.image
from pydantic import Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from adbench_anomalib.model import SET_BY_US, AnomalibModel
from adbench_anomalib.training import UNTRAINED
from adbench_harness.nn.inputs import Size
from adbench_harness.types import AnomalyMap, ImageScore

ADAPTER: Final = 1
"""Raised whenever this adapter may change a number, in addition to anomalib's own version."""
WITHOUT_MAP: Final = frozenset({"dfkde", "ganomaly", "vlm_ad"})
BATCH: Final = {"efficient_ad": 1}
"""Images per step for models that do not accept anomalib's 32."""
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {"fast": {"epochs": 10}, "anomalib": {}}
CHECKED: Final[Mapping[str, Mapping[str, Any]]] = {
    "anomaly_dino": {"size": 70},
    "anomalyvfm": {"size": 70},
    "cfa": {"network": "resnet18"},
    "cflow": {"network": "resnet18", "fiber_batch_size": 16},
    "dfkde": {"n_pca_components": 4},
    "dinomaly": {"size": 70},
    "efficient_ad": {"size": 256},
    "fastflow": {"epochs": 15},
    "foundad": {"size": 70},
    "fre": {"size": 256},
    "general_ad": {"size": 70, "network": "vit_small_patch14_dinov2.lvd142m", "layers": (12,)},
    "inp_former": {"size": 70},
    "l2bt": {"size": 224},
    "mh_patchcore": {"size": 224, "network": "resnet18"},
    "patchcore": {"network": "resnet18"},
    "patchflow": {"network": "resnet18"},
    "reverse_distillation": {"network": "resnet18"},
    "super_add": {"network": "vit_small_patch16_dinov3", "size": 448},
    "supersimplenet": {"size": 128},
    "uflow": {"network": "resnet18", "size": 256},
}
"""Parameters for quick checks, if 64 px, one epoch and untrained weights are not enough."""

XFAIL: Final = {
    "patchcore": {
        "subset_invariance": "the rounding of its matrix product depends on the batch: 1.5e-5"
    }
}


def models() -> list[type[AnomalibModel]]:
    """A class for each image model of the installed anomalib."""
    image = anomalib.models.image
    return [_model(getattr(image, name)) for name in image.__all__]


def _model(source: type[Any]) -> type[AnomalibModel]:
    """The adbench model of one anomalib model, named by its folder."""
    short = source.__module__.removeprefix(f"{anomalib.models.image.__name__}.").partition(".")[0]
    about = inspect.getdoc(inspect.getmodule(source)) or ""
    offered = _offered(source)
    left_open = passes(source) is None
    small = {
        "size": 64,
        **({"epochs": 1} if left_open else {}),
        **({"pre_trained": False} if "pre_trained" in offered else {}),
        **CHECKED.get(short, {}),
    }
    members = {
        "name": f"anomalib-{short}",
        "summary": f"{_headline(source, about)} (anomalib)",
        "paper": next(iter(re.findall(r"https?://arxiv\.org/\w+/\d+\.\d+", about)), None),
        "version": _number(version("anomalib")) * 100 + ADAPTER,
        "source": source,
        "emits": frozenset({ImageScore} if short in WITHOUT_MAP else {AnomalyMap, ImageScore}),
        "check_parameters": small,
        "xfail": XFAIL.get(short, {}),
        "__init__": _constructor({**_common(BATCH.get(short, 32)), **offered}),
        "__doc__": f"anomalib's {source.__name__}.",
    }
    if left_open:
        members["presets"] = PRESETS
    return type(source.__name__, (AnomalibModel,), members)


def passes(source: type[Any]) -> int | None:
    """The number of epochs that the model sets, 0 for no training; None if it sets none."""
    known = inspect.signature(source.__init__).parameters
    unbuilt = SimpleNamespace(**{name: signed.default for name, signed in known.items()})
    try:
        if source.learning_type.fget(unbuilt) in UNTRAINED:
            return 0
        epochs: int | None = source.trainer_arguments.fget(unbuilt).get("max_epochs")
    except AttributeError:  # it needs attributes that only a built model has
        return None
    return epochs


def _headline(source: type[Any], about: str) -> str:
    """The first line of the module's docstring or, if that is not informative, of the class's."""
    lines = [text.partition("\n")[0].strip(" .") for text in (about, inspect.getdoc(source) or "")]
    return next((line for line in lines if line), source.__name__)


def _number(text: str) -> int:
    """A version's first three numbers as one: 2.7.0 is 20700."""
    major, minor, patch = ([int(part) for part in re.findall(r"\d+", text)] + [0, 0, 0])[:3]
    return major * 10000 + minor * 100 + patch


# ---------------------------------------------------------------- parameters

_Typed = tuple[Any, Any]
"""A parameter's annotation and its default."""
_NAMES: Final = {"backbone": "network"}
"""Parameters with another name here: anomalib's models do not use the harness's backbones."""
_COMMON: Final = ("size", "epochs", "batch")


def _common(batch: int) -> dict[str, _Typed]:
    return {
        "size": (
            Annotated[
                Size | None, "both sides of the input in px, or HEIGHTxWIDTH; none: the model's own"
            ],
            None,
        ),
        "epochs": (
            Annotated[
                Annotated[int, Field(ge=1)] | None,
                "passes over the training images; none: the model's own, else Lightning's 1000",
            ],
            None,
        ),
        "batch": (Annotated[int, Field(ge=1, description="images per training step")], batch),
    }


def _offered(source: type[Any]) -> dict[str, _Typed]:
    """The constructor's parameters of plain types, under the names used here."""
    names = {"Path": Path, "Sequence": Sequence, **vars(inspect.getmodule(source))}
    offered = {}
    for name, signed in inspect.signature(source.__init__).parameters.items():
        if name in SET_BY_US or signed.default is signed.empty:
            continue
        written = SimpleNamespace(__annotations__={name: signed.annotation})
        try:
            annotation = _plain(typing.get_type_hints(written, names)[name])
            adapter = TypeAdapter(annotation)
            adapter.dump_json(adapter.validate_python(signed.default))
        except (NameError, PydanticSchemaGenerationError, ValidationError):
            continue  # a module or a callable, which a suite cannot express
        default = tuple(signed.default) if isinstance(signed.default, list) else signed.default
        offered[_NAMES.get(name, name)] = (annotation, default)
    return offered


def _plain(annotation: Any) -> Any:
    """Sequences as tuples: a list in a suite is then one value of them."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Sequence, list):
        return tuple[inner[0], ...]  # type: ignore[valid-type]
    if origin and len(inner) > 1 and type(None) in inner:
        others = [_plain(part) for part in inner if part is not type(None)]
        return typing.Union[(*others, None)]  # built at run time
    return annotation


def _constructor(offered: Mapping[str, _Typed]) -> Any:
    """An ``__init__`` whose signature the harness can read like that of a written one."""

    def construct(self: AnomalibModel, **given: Any) -> None:
        if unknown := given.keys() - offered.keys():
            raise TypeError(f"{type(self).__name__} has no parameter {', '.join(sorted(unknown))}")
        values = {name: given.get(name, default) for name, (_, default) in offered.items()}
        common: dict[str, Any] = {name: values.pop(name) for name in _COMMON}
        theirs = {ours: their for their, ours in _NAMES.items()}
        AnomalibModel.__init__(
            self, **common, given={theirs.get(name, name): value for name, value in values.items()}
        )

    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, (_, default) in offered.items()
    ]
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    construct.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
    construct.__annotations__ = {name: annotation for name, (annotation, _) in offered.items()}
    return construct
