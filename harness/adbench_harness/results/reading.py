"""Reads the files of a stored result, which may be damaged or made by anybody."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError, line, said

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import TypeAdapter

    from adbench_harness.results.fitted import Fitted
    from adbench_harness.results.maps import Maps
    from adbench_harness.results.store import Record

SCHEMA = 2
_YOUNGER = frozenset({"chosen"})
"""Fields of a record that the first results of this schema do not have."""


class Damaged(UserError):  # noqa: N818  # as NotInstalled is named
    """A file is not what the store wrote; its trial must run again."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: not a result ({line(reason)}); run its suite again to make it again, or "
            "delete it"
        )


def record(path: Path) -> Record:
    """The content of a result's JSON file. Raises UserError unless the store could write it."""
    _found(path)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Damaged(path, said(error)) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: written by another version of adbench; run the suite again into "
            "a new folder (--out)"
        )
    del content["schema"]
    name = content.pop("id", None)
    from pydantic_core import to_jsonable_python

    try:
        found = _adapter().validate_python(content)
        plain = to_jsonable_python(found, inf_nan_mode="constants")
    except (ValueError, RecursionError) as error:
        raise Damaged(path, _first(error)) from None
    # Fields that are younger than the file have their defaults.
    plain = {key: value for key, value in plain.items() if key in content or key not in _YOUNGER}
    plain["trial"] = {key: plain["trial"][key] for key in content["trial"] if key in plain["trial"]}
    if wrong := _difference(content, plain) or _odd(found):
        raise Damaged(path, wrong)
    if name != found.trial.id:
        raise Damaged(path, "its id is not that of its trial, so it was changed")
    return found


@cache
def _adapter() -> TypeAdapter[Record]:
    from pydantic import TypeAdapter

    from adbench_harness.results.store import Record

    return TypeAdapter(Record)


def _first(error: Exception) -> str:
    """The first thing that is wrong, with its place."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return said(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _difference(content: Any, plain: Any) -> str:
    """What a file has and the store does not write, or the reverse; empty if nothing."""
    if content == plain:
        return ""
    if isinstance(content, dict) and isinstance(plain, dict):
        for key in sorted(content.keys() ^ plain.keys()):
            return f"'{key}' is {'unknown' if key in content else 'missing'}"
        for key in content:
            if wrong := _difference(content[key], plain[key]):
                return wrong if wrong.startswith("'") else f"'{key}' {wrong}"
    return "has a value of another type"


_CLOCK = 1e-3
"""Seconds by which rounding may make a difference of times negative."""
_FACTS = {
    "device": str,
    "processor": str,
    "torch": str,
    "threads": int,
    "finished": str,
    "run": str,
    "engine": str,
    "commit": str | None,
    "plugins": dict,
    "images": dict,
    "notes": list,
    "unsplit": str,
    "fitted": str,
}
"""The types of those facts of a provenance that the harness reads."""


def _odd(found: Record) -> str:
    """What is wrong with the values of a record whose types are right; empty if nothing is."""
    for name, kind in _FACTS.items():
        if name in found.provenance and not isinstance(found.provenance[name], kind):
            return f"'{name}' has a value of another type"
    for name, (low, high) in found.intervals.items():
        if not low <= high:
            return f"the interval of '{name}' is from {low} to {high}"
    numbers = [*found.metrics.items(), *((n, end) for n, i in found.intervals.items() for end in i)]
    for name, value in numbers:
        heading = found.columns.get(name)
        if not math.isfinite(value) or (heading and not heading.allows(value)):
            return f"'{name}' is {value}"
    for name, value in (*found.seconds_alone.items(), *found.seconds_shared.items()):
        if not -_CLOCK <= value < math.inf:
            return f"'{name}' is {value}"
    return ""


OWNER = "trial id"
"""The key of the id of the trial in a file of arrays; older files lack it."""


def check(path: Path) -> None:
    """Raise Damaged if there is a file of arrays that was cut off."""
    if _found(path) and not zipfile.is_zipfile(path):
        raise Damaged(path, "it is cut off")


def _found(path: Path) -> bool:
    """Whether there is a file. Raises Damaged for anything else, such as a link to a device."""
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise Damaged(path, "it is not a file")
    return True


def images(path: Path, trial_id: str) -> dict[str, NDArray[Any]]:
    """The per-image arrays of a result; empty if there are none. Raises Damaged."""
    found = _arrays(path, trial_id)
    if found and (wrong := _wrong(found)):
        raise Damaged(path, wrong)
    return found


def curves(path: Path, trial_id: str) -> dict[str, NDArray[Any]]:
    """What a training logged; empty if it logged nothing. Raises Damaged."""
    found = _arrays(path, trial_id)
    if any(values.dtype.kind != "f" or values.ndim != 1 for values in found.values()):
        raise Damaged(path, "a curve is not a list of numbers")
    return found


def maps(path: Path, trial_id: str) -> Maps | None:
    """The maps of a result; None if there are none. Raises Damaged."""
    from adbench_harness.results.maps import decode

    found = _arrays(path, trial_id)
    try:
        return decode(found) if found else None
    except Exception as error:
        raise Damaged(path, said(error)) from None


def fitted(path: Path, digest: str) -> Fitted | None:
    """The fitted pipeline of a result; None if there is none.

    ``digest`` is the sha256 that the record has. Raises UserError if the file is another one.
    """
    from adbench_harness.results.fitted import decode

    if not _found(path):
        return None
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                return decode(path)
        reason = "its checksum is not the one in the result's record"
    except Exception as error:
        reason = said(error)
    raise UserError(
        f"{path}: not the fitted model that the run kept ({line(reason)}); delete the file, and "
        "the model is fitted again"
    )


def _arrays(path: Path, trial_id: str) -> dict[str, NDArray[Any]]:
    import numpy as np

    if not _found(path):
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except Exception as error:  # each layer of the format has errors of its own
        # For a pickle, numpy advises to load it, which would run what is in it.
        raise Damaged(path, "it has a pickle" if "pickle" in str(error) else said(error)) from None
    if str(found.pop(OWNER, trial_id)) != trial_id:
        raise Damaged(path, "it is of another trial")
    return found


_KINDS = {"path": "U", "defect": "U", "label": "i", "score": "f", "probability": "f"}
"""The kinds of the arrays over the test images; numpy's ``dtype.kind``."""
_OTHERS = {"class": "U", "validation": "f"}


def _wrong(found: dict[str, NDArray[Any]]) -> str:
    """What is wrong with per-image arrays; empty if nothing is."""
    import numpy as np

    for name in ("path", "defect", "label"):
        if name not in found:
            return f"'{name}' is missing"
    for name, values in found.items():
        kind = (_KINDS | _OTHERS).get(name)
        if values.dtype.kind != kind or values.ndim != (2 if name == "probability" else 1):
            return f"'{name}' is unknown or has another type"
        if name in _KINDS and len(values) != len(found["path"]):
            return f"'{name}' has another length than 'path'"
        if kind == "f" and not np.isfinite(values).all():
            return f"'{name}' has a value that is not finite"
        if name == "label" and not np.isin(values, (-1, 0, 1)).all():
            return "'label' has a value that is not 0, 1 or -1 (unknown)"
    if found.get("probability", np.empty((0, 0))).shape[1] != len(found.get("class", ())):
        return "'probability' has another number of columns than 'class' has names"
    for place in found["path"].tolist():
        path = Path(place)
        if not place or path.anchor or ".." in path.parts:
            return f"'{place}' is not a path in a data set"
    return ""
