"""Parameters that set how images become a model's input; see ``InputSpec``.

A suite writes a size as one number or as HEIGHTxWIDTH, such as ``resize=256x320``; a square is the
same as its side. A list is a grid: ``resize=[256,320]`` are two sizes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from adbench_harness.types import written

_Side = Annotated[int, Field(ge=1)]
_SIDES: TypeAdapter[Any] = TypeAdapter(tuple[_Side] | tuple[_Side, _Side])


def _read(value: Any) -> int | tuple[int, int]:
    """A number, text or (height, width) as what ``InputSpec`` takes; a square as its side."""
    sides = value.split("x") if isinstance(value, str) else value
    try:
        sides = _SIDES.validate_python(sides if isinstance(sides, list | tuple) else (sides,))
    except ValidationError:
        reason = "Write a number of px above 0, or HEIGHTxWIDTH such as 256x320"
        raise PydanticCustomError("size", reason) from None
    return sides[0] if len(set(sides)) == 1 else sides  # type: ignore[no-any-return]  # checked


_Size = Annotated[int | tuple[int, int], PlainValidator(_read), PlainSerializer(written)]

Size = Annotated[_Size, "both sides of the input in px, or HEIGHTxWIDTH"]
Resize = Annotated[
    _Size, "shorter side of the image in px, or HEIGHTxWIDTH, to which it is squashed"
]
Crop = Annotated[_Size | None, "side of the centre crop in px, or HEIGHTxWIDTH, or none"]
Aspect = Annotated[Literal["keep", "squash"], "squash resizes both sides to the same length"]
