"""The folder of a site: its pages, its files, and what an earlier site left in it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench_harness import __version__
from adbench_harness.errors import UserError, clean
from adbench_harness.results.trial import show

_OURS = ("index.html", "compare.html", "rows", "plots", "data", "images", "static")
_MARK = '<meta name="generator" content="adbench '


class Folder:
    """Writes pages and files under ``root``; removes an earlier site.

    Raises UserError if the folder contains anything else.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        _clear(root)
        # An unfinished site is recognized as one, so that the same command can write it again.
        self.file("index.html", f'{_MARK}{__version__}">unfinished\n')
        self._templates = Environment(
            loader=PackageLoader("adbench_harness.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.policies["json.dumps_kwargs"] = {"default": asdict, "allow_nan": False}
        self._templates.globals |= {"version": __version__, "show": show}
        for file in files("adbench_harness.report").joinpath("static").iterdir():
            self.file(f"static/{file.name}", file.read_text(encoding="utf-8"))

    def page(self, path: str, template: str, **context: Any) -> None:
        """Write a page; ``root`` is the way from it to the folder."""
        root = "../" * path.count("/")
        text = self._templates.get_template(template).render(root=root, **context)
        self.file(path, clean(text))

    def data(self, path: str, content: Any) -> None:
        """Write data as a script, which a page can load from disk; a JSON file it cannot."""
        # ASCII, so that no character can end a line of the script.
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        self.file(path, f"adbench.receive({text});\n")

    def file(self, path: str, content: str | bytes) -> None:
        """Write a file."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def named(label: str, *key: str) -> str:
    """A readable file name, made unique by its content."""
    readable = re.sub(r"[^a-z0-9]+", "-", label.lower())[:48].strip("-")
    digest = sha256(repr((label, *key)).encode()).hexdigest()[:8]
    return f"{readable}-{digest}".lstrip("-")


def _clear(root: Path) -> None:
    index = root / "index.html"
    try:
        if root.is_dir() and any(root.iterdir()):
            if not (index.is_file() and _MARK in index.read_text(encoding="utf-8")[:2000]):
                raise UserError(
                    f"-o: '{root}' is not empty and not an adbench site; name a new folder"
                )
            for name in _OURS:
                path = root / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"-o: '{root}' cannot be written to ({error.strerror}); name another folder"
        ) from None
