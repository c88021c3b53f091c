"""Files of weights that tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def written(path: Path, content: Any) -> Path:
    """``path`` with ``content``: a state dict as safetensors, or anything as PyTorch saves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({k: v.contiguous() for k, v in content.items()}, path)
    else:
        torch.save(content, path)
    return path
