"""Checks what the user requests by flags or a TOML file, and makes it one value."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from adbench_harness.errors import UserError, message, nearest
from adbench_harness.planning import grammar
from adbench_harness.types import ProtocolName

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _seeds(value: Any) -> Any:
    """``7`` means the seeds 0 to 6."""
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _chains(value: Any) -> Any:
    """Convert every notation of an axis to alternatives, each a chain of (name, parameters)."""
    if value is None:
        return None
    alternatives: list[list[grammar.Wanted]] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            alternatives += grammar.chains(item)
        elif isinstance(item, Mapping):
            alternatives.append([_table(item)])
        elif isinstance(item, list):
            alternatives.append([_link(link) for link in item])
        else:
            raise ValueError(f"{item!r} does not name a component")
    if not alternatives:
        raise ValueError("an empty list; leave the key out to take what the plugins provide")
    return alternatives


def _link(item: Any) -> grammar.Wanted:
    return _table(item) if isinstance(item, Mapping) else grammar.component(str(item))


def _table(item: Mapping[str, Any]) -> grammar.Wanted:
    if not isinstance(item.get("name"), str):
        raise ValueError(f"the table {dict(item)!r} needs a key 'name'")
    return grammar.Wanted(item["name"], {key: v for key, v in item.items() if key != "name"})


def _names(value: Any) -> Any:
    return grammar.split(value, ",") if isinstance(value, str) else value


def _several(value: Any) -> Any:
    """``4`` means the single value 4."""
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Seed = Annotated[int, Field(ge=0)]
Shots = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_several), Field(min_length=1)]
Seeds = Annotated[list[Seed], BeforeValidator(_seeds), Field(min_length=1)]
Axis = Annotated[list[list[Any]] | None, BeforeValidator(_chains)]
Names = Annotated[list[str], BeforeValidator(_names)]


class EvaluationTable(BaseModel):
    """How maps are compared with masks; see ``trial.EvaluationSettings``."""

    model_config = _STRICT

    size: Annotated[int, Field(gt=0)] | None = None
    border: Literal["full", "crop"] = "full"


class Tolerance(BaseModel):
    """How far results may differ from accepted ones before ``adbench compare`` reports it.

    ``metrics`` is the allowed change of a metric that is a fraction. ``scores`` is the allowed
    change of an image's score, in standard deviations of the accepted scores. ``noise`` is the
    factor by which seconds and MB may grow; for ``params`` and ``flops`` there is no tolerance.
    ``each`` replaces these values for single metrics; for a cost it is a factor.
    """

    model_config = _STRICT

    metrics: Annotated[float, Field(ge=0)] = 0.005
    scores: Annotated[float, Field(ge=0)] = 0.05
    noise: Annotated[float, Field(ge=1)] = 4.0
    each: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class Suite(BaseModel):
    """Everything that says what to run; an axis that is None has what the plugins provide.

    ``shots`` are numbers of normal images to learn from (None: all of them), ``validation`` is the
    share of the normal training images that is held out, and ``unified`` fits one model to all
    categories of a data set. ``labels`` are texts that tables show for components or rows.
    """

    model_config = _STRICT

    plugins: Names = Field(min_length=1)
    recipe: str | None = None
    datasets: Axis = None
    preprocessors: Axis = None
    augmenters: Axis = None
    models: Axis = None
    scorers: Axis = None
    metrics: Names | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    overrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    protocol: ProtocolName = "unsupervised"
    seeds: Seeds = Field(default_factory=lambda: [0])
    split_seeds: Seeds = Field(default_factory=lambda: [0])
    shots: Shots | None = None
    shot_seeds: Seeds = Field(default_factory=lambda: [0])
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    unified: bool = False
    backbone: str | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluation: EvaluationTable = Field(default_factory=EvaluationTable)
    keep_maps: bool = False
    keep_models: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    tolerance: Tolerance = Field(default_factory=Tolerance)

    @model_validator(mode="after")
    def _zero_shot_learns_nothing(self) -> Suite:
        if self.protocol == "zero-shot" and (self.shots or self.validation):
            key = "shots" if self.shots else "validation"
            raise ValueError(f"{key} cannot be set: zero-shot models get no training images")
        return self


_TABLES: dict[str, type[BaseModel]] = {"evaluation": EvaluationTable, "tolerance": Tolerance}


def read(path: Path) -> dict[str, Any]:
    """The contents of a suite file; a UserError names the file and the line or the key.

    A file is checked on its own, so that its mistakes are not taken for those of a flag. It does
    not have to name plugins.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"suite file '{path}' does not exist") from None
    except (OSError, ValueError, RecursionError) as error:  # deep nesting, or a huge number
        raise UserError(f"suite file '{path}' cannot be read: {message(error)}") from None
    validate({"plugins": ["any"], **content}, str(path))
    return content


def validate(content: Mapping[str, Any], source: str) -> Suite:
    """A suite from plain data; a UserError names the key, the reason and the nearest valid one."""
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        dotted = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            *table, key = map(str, first["loc"])
            fields = _TABLES[table[0]].model_fields if table else Suite.model_fields
            raise UserError(
                f"{source}: unknown key '{dotted}'{nearest(key, fields)};"
                f" valid: {', '.join(fields)}"
            ) from None
        reason = first["msg"].removeprefix("Value error, ")
        subject = f"{source}: '{dotted}'" if dotted else source
        raise UserError(f"{subject}: {reason[0].lower()}{reason[1:]}") from None
