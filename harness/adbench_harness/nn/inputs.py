"""Parameters that set how images become a model's input; see ``InputSpec``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Resize = Annotated[int, Field(ge=1, description="shorter side of the image in px")]
Crop = Annotated[Annotated[int, Field(ge=1)] | None, "side of the centre crop in px, or none"]
Aspect = Annotated[Literal["keep", "squash"], "squash resizes both sides to the same length"]
