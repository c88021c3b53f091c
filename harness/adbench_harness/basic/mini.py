"""The images of ``mini``, the data set that needs no download.

Three textures are cut from CC0 photographs in scikit-image, training and test images from opposite
halves; two objects are drawn. Everything is integer arithmetic on the raw stream of PCG64, so that
every machine makes the same images.
"""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import skimage.data
from filelock import FileLock
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]
Place = tuple[int, int]  # y, x
Views = tuple[Ints, Ints]  # a scene without and with its defect, [SIZE, SIZE, 3]
Defect = Callable[["_Draws", Ints, int], Ints]  # draws, scene, strength (0 to 2) -> scene

VERSION = 1  # raise it when a pixel changes: ``build`` makes one folder per version
SIZE = 192  # both sides, in pixels
_TRAIN, _GOOD = 48, 20  # images
_VISIBLE = 3  # minimum change by a defect in grey levels, in the mean of 5 x 5 pixels
_UNIT = 16  # coordinates are in units of 1/16 pixel
_Y, _X = np.indices((SIZE, SIZE), dtype=np.int64) * _UNIT


@dataclass(frozen=True)
class MiniImage:
    """An image, its path in MVTec AD's layout, and its defect.

    ``image`` and ``clean``, the same view before the defect, are uint8 [SIZE, SIZE, 3] RGB.
    ``mask`` is uint8 [SIZE, SIZE], 255 where they may differ, else 0; None for a good image.
    """

    path: str
    image: Bytes
    clean: Bytes
    mask: Bytes | None

    @property
    def mask_path(self) -> str:
        """``ground_truth/crack/000_mask.png`` for ``test/crack/000.png``."""
        return self.path.replace("test/", "ground_truth/", 1).replace(".png", "_mask.png")


class _Draws:
    """Random integers from the raw stream of PCG64, which numpy promises not to change."""

    def __init__(self, key: str) -> None:
        self._bits = np.random.PCG64(list(key.encode()))

    def integer(self, low: int, high: int) -> int:
        """One number from ``low`` to ``high``, inclusive."""
        return low + (int(self._bits.random_raw()) * (high - low + 1) >> 64)

    def field(self, low: int, high: int) -> Ints:
        """Independent numbers from ``low`` to ``high``, [SIZE, SIZE]."""
        raw: Ints = (self._bits.random_raw(SIZE * SIZE) >> np.uint64(32)).astype(np.int64)
        return low + (raw * (high - low + 1) >> 32).reshape(SIZE, SIZE)

    def place(self) -> Place:
        """A point away from the borders, since models may crop them."""
        return _UNIT * self.integer(40, SIZE - 41), _UNIT * self.integer(40, SIZE - 41)

    def direction(self, steepest: int = 64) -> tuple[int, int]:
        """Cosine and sine times 4096 of an angle within +-2 atan(steepest / 64)."""
        t = self.integer(-steepest, steepest)
        return 4096 * (4096 - t * t) // (4096 + t * t), 4096 * 128 * t // (4096 + t * t)

    def smooth(self, *radii: int, along: int | None = None) -> Ints:
        """Sum of waves about ``radii`` pixels wide, within +-256, [SIZE, SIZE].

        ``along`` is the radius in x if it differs from the radius in y.
        """
        total = np.zeros((SIZE, SIZE), np.int64)
        for radius in radii:
            wave = self.field(-(1 << 20), 1 << 20)
            for _ in range(2):
                wave = _box(wave, radius, radius if along is None else along)
            total += wave * 256 // np.abs(wave).max()
        waves: Ints = total * 256 // np.abs(total).max()
        return waves


def _box(values: Ints, radius: int, along: int | None = None) -> Ints:
    """Box mean over the first two axes, with periodic borders."""
    for axis, reach in enumerate((radius, radius if along is None else along)):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (reach + 1, reach)
        total = np.moveaxis(np.cumsum(np.pad(values, pad, mode="wrap"), axis), axis, 0)
        width = 2 * reach + 1
        values = np.moveaxis((total[width:] - total[:-width] + reach) // width, 0, axis)
    return values


def _root(squares: Ints) -> Ints:
    """Integer square roots; exact, since IEEE 754 rounds square roots correctly."""
    return np.sqrt(squares.astype(np.float64)).astype(np.int64)


def _mix(under: Ints, over: Ints | Colour, alpha: Ints) -> Ints:
    """``over`` blended onto ``under`` [H, W, 3], with ``alpha`` [H, W] from 0 to 256."""
    return under + (np.asarray(over) - under) * alpha[..., None] // 256


def _turned(y: int, x: int, direction: tuple[int, int]) -> tuple[Ints, Ints]:
    """Coordinates along and across ``direction``, relative to the point (y, x)."""
    cos, sin = direction
    u = ((_X - x) * cos + (_Y - y) * sin) // 4096
    return u, ((_Y - y) * cos - (_X - x) * sin) // 4096


def _spot(draws: _Draws, radius: int, edge: int, place: Place) -> Ints:
    """Alpha of a ragged blob of about ``radius`` pixels; it fades from ``edge`` 256ths inwards."""
    u, v = _turned(*place, draws.direction())
    stretch = draws.integer(16, 28)
    ellipse = 256 * (u * u * 16 // stretch + v * v * stretch // 16) // (radius * _UNIT) ** 2
    ragged = draws.smooth(max(2, radius // 3), max(1, radius // 6))
    return np.clip((256 - ellipse + ragged * 5 // 8) * 256 // edge, 0, 256)


def _line(draws: _Draws, start: Place, length: int, bend: int, steepest: int = 64) -> Ints:
    """Squared distance to a line of ``length`` pixels; each pixel turns it by up to bend / 4096."""
    cos, sin = draws.direction(steepest)
    y, x = start
    nearest = np.full((SIZE, SIZE), 1 << 40, np.int64)
    for _ in range(length):
        nearest = np.minimum(nearest, (_Y - y) ** 2 + (_X - x) ** 2)
        turn = draws.integer(-bend, bend)
        cos, sin = cos - sin * turn // 4096, sin + cos * turn // 4096
        norm = math.isqrt(cos * cos + sin * sin)
        cos, sin = cos * 4096 // norm, sin * 4096 // norm
        y, x = y + sin * _UNIT // 4096, x + cos * _UNIT // 4096
    return nearest


def _stroke(distance: Ints, width: int) -> Ints:
    """Alpha of a stroke that reaches ``width`` / 16 pixels to either side."""
    return np.clip((width - _root(distance)) * 16 + 128, 0, 256)


def _lights(draws: _Draws, index: int) -> Callable[[Ints], Bytes]:
    """Exposure, light from one side, and sensor noise.

    Exposures cycle with the index, so that brightness does not distinguish good from defective.
    """
    u, _ = _turned(SIZE * _UNIT // 2, SIZE * _UNIT // 2, draws.direction())
    light = 238 + 36 * (index * 5 % 8) // 7 + u * draws.integer(0, 10) // (SIZE * _UNIT // 2)
    grain = draws.field(-4, 4)[..., None] + np.stack([draws.field(-2, 2) for _ in range(3)], 2)

    def photograph(scene: Ints) -> Bytes:
        seen = np.clip(scene * light[..., None] // 256 + grain, 0, 255)
        return np.asarray(seen, np.uint8)

    return photograph


def _crack(draws: _Draws, scene: Ints, strength: int) -> Ints:
    line = _line(draws, draws.place(), draws.integer(30, 70), bend=1100)
    return _mix(scene, scene * 3 // 10, _stroke(line, 8 + 6 * strength))


def _hole(draws: _Draws, scene: Ints, strength: int) -> Ints:
    spot = _spot(draws, 9 + 4 * strength, 48, draws.place())
    shade = spot - np.roll(spot, 3, axis=0)
    return _mix(scene, _box(scene, 3) * 2 // 5 - shade[..., None] // 10, spot)


def _stain(draws: _Draws, scene: Ints, strength: int, *, tint: Colour) -> Ints:
    spot = _spot(draws, draws.integer(18, 24), 80, draws.place()) * (6 + 3 * strength) // 12
    return _mix(scene, scene * np.array(tint) // 256, spot)


def _overgrown(draws: _Draws, scene: Ints, strength: int, *, by: str) -> Ints:
    spot = _spot(draws, draws.integer(14, 20), 128, draws.place()) * (6 + 3 * strength) // 12
    return _mix(scene, _surface(draws, by, "test"), spot)


def _smeared(draws: _Draws, scene: Ints, strength: int) -> Ints:
    spot = _spot(draws, draws.integer(19, 25), 48, draws.place())
    return _mix(scene, _box(scene, 2 + strength), spot)


def _misplaced(draws: _Draws, scene: Ints, strength: int) -> Ints:
    return _mix(scene, np.rot90(scene), _spot(draws, 14 + 4 * strength, 32, draws.place()))


@dataclass(frozen=True)
class _Texture:
    """A grey photograph's rotations by 90 degrees, the colours of black and white, and defects."""

    turns: int
    dark: Colour
    light: Colour
    defects: dict[str, Defect]


_TEXTURES = {
    "brick": _Texture(
        1,
        (52, 18, 10),
        (238, 206, 186),
        {
            "crack": _crack,
            "hole": _hole,
            "misplaced": _misplaced,
            "moss": partial(_overgrown, by="grass"),
        },
    ),
    "grass": _Texture(
        0,
        (14, 26, 4),
        (206, 226, 128),
        {
            "bare": partial(_overgrown, by="gravel"),
            "dry": partial(_stain, tint=(370, 250, 180)),
            "hole": _hole,
            "trampled": _smeared,
        },
    ),
    "gravel": _Texture(
        0,
        (26, 24, 24),
        (236, 230, 218),
        {
            "hole": _hole,
            "mud": _smeared,
            "oil": partial(_stain, tint=(52, 46, 42)),
            "weed": partial(_overgrown, by="grass"),
        },
    ),
}


@cache
def _photo(name: str) -> Ints:
    photo: Bytes = getattr(skimage.data, name)()
    return np.rot90(photo, _TEXTURES[name].turns).astype(np.int64)


def _surface(draws: _Draws, name: str, part: str) -> Ints:
    """A coloured crop from the half of the photograph that belongs to ``part``."""
    half = np.split(_photo(name), 2)[part == "test"]
    y, x = (draws.integer(0, size - SIZE) for size in half.shape)
    cut = half[y : y + SIZE, x : x + SIZE, None]
    if draws.integer(0, 1):
        cut = cut[:, ::-1]
    dark, light = np.array(_TEXTURES[name].dark), np.array(_TEXTURES[name].light)
    surface: Ints = dark + (light - dark) * cut // 255
    return surface


def _texture(draws: _Draws, part: str, defect: str | None, strength: int, *, name: str) -> Views:
    scene = _surface(draws, name, part)
    if defect is None:
        return scene, scene
    return scene, _TEXTURES[name].defects[defect](draws, scene, strength)


def _spotted(draws: _Draws, scene: Ints, strength: int) -> Ints:
    spot = _spot(draws, 3 + draws.integer(0, 2) + 2 * strength, 120, draws.place())
    return _mix(scene, scene * draws.integer(120, 150) // 256, spot * (4 + 3 * strength) // 10)


def _scratched(draws: _Draws, scene: Ints, strength: int) -> Ints:
    line = _line(draws, draws.place(), draws.integer(30, 80), bend=120)
    groove = _stroke(line, 6 + 3 * strength) * (5 + 2 * strength) // 10
    below = np.pad(groove, ((1, 0), (0, 0)))[:-1]
    scene = _mix(scene, scene * 150 // 256, below)
    return _mix(scene, (235, 236, 238), groove)


_METAL = {"scratch": _scratched, "spot": _spotted}


def _metal(draws: _Draws, part: str, defect: str | None, strength: int) -> Views:
    """Brushed metal with tool marks; its defects are spots and scratches."""
    brushed = draws.smooth(0, along=24) + draws.smooth(1, along=40) + draws.smooth(0, along=6) // 2
    level = 140 + brushed * draws.integer(20, 44) // 256 + draws.smooth(30) * 10 // 256
    for _ in range(draws.integer(0, 4)):
        line = _line(draws, draws.place(), draws.integer(30, 80), bend=60, steepest=6)
        level = level + _stroke(line, 8) * draws.integer(-40, 40) // 256
    scene: Ints = level[..., None] * np.array((252, 256, 262)) // 256
    return scene, scene if defect is None else _METAL[defect](draws, scene, strength)


_INK = """
 ###  ####   ###
#   # #     #   #
    # #     #  ##
  ##  ####  # # #
 #        # ##  #
#     #   # #   #
#####  ###   ###
"""
_TEXT = np.array(
    [[cell == "#" for cell in f"{row:17}"] for row in _INK.split("\n")[1:-1]], np.int64
)
_FIRST_DIGIT = np.arange(17) < 6


def _imprint(u: Ints, v: Ints, text: Ints) -> Ints:
    """Alpha of ``text`` [rows, columns] with a corner at u = v = 0."""
    rows, columns = text.shape
    row, column = v // (2 * _UNIT), u // (2 * _UNIT)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    cells = text[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
    return _box(np.where(inside, cells * 220, 0), 1)


def _dusty(draws: _Draws) -> Ints:
    """A light table top with clumps of dust and fibres, every channel near 200."""
    clumps = np.clip(draws.smooth(9, 20) + draws.integer(-160, 60), 0, 256)
    amount = draws.integer(1, 8)
    dust = np.zeros((SIZE, SIZE), np.int64)
    for size, depth in ((0, 36), (1, 300), (2, 700)):
        falls = draws.field(0, 40000 << 2 * size) < clumps * amount + 20
        dust += _box(falls * draws.field(depth // 3, depth), size)
    for _ in range(draws.integer(0, 5)):
        start = _UNIT * draws.integer(0, SIZE), _UNIT * draws.integer(0, SIZE)
        line = _line(draws, start, draws.integer(10, 45), draws.integer(50, 1200))
        dust += _stroke(line, draws.integer(7, 14)) * draws.integer(20, 50) // 256
    # Lit from one side, dust has a bright edge and a dark one.
    relief = np.clip(np.roll(dust, (1, 1), (0, 1)) - dust, -34, 34)
    level = 214 + draws.smooth(28) * 5 // 256 + relief
    return np.stack([level + 3, level, level - 7], 2)


def _outside(u: Ints, v: Ints, radius: Ints) -> Ints:
    """Distance from the outline of a capsule along u, negative inside it."""
    return _root(np.maximum(np.abs(u) - 30 * _UNIT, 0) ** 2 + v * v) - radius


def _shell(u: Ints, v: Ints, radius: Ints, text: Ints) -> Ints:
    """The two halves of a capsule with their seam, shade, gloss and imprint."""
    shell = np.broadcast_to(np.array((54, 96, 104)), (SIZE, SIZE, 3))
    shell = _mix(shell, (204, 84, 44), np.clip((u + 4 * _UNIT) * 16, 0, 256))
    shell = _mix(shell, (40, 20, 18), np.clip(128 - np.abs(u + 4 * _UNIT) * 5, 0, 256))
    lift = np.clip(_outside(u, v, radius) * -256 // radius, 0, 256)
    shell = shell * (120 + lift * (512 - lift) * 130 // 65536)[..., None] // 256
    gloss = np.clip(256 - np.abs(v + radius // 3) * 3, 0, 256)
    gloss = gloss * np.clip(736 - np.abs(u), 0, 256) // 768
    shell = _mix(shell, (232, 200, 120), gloss)
    return _mix(shell, (40, 16, 14), _imprint(u - 8 * _UNIT, v + 7 * _UNIT, text))


_CAPSULE = ("crack", "dent", "faulty_imprint", "poke", "scratch")


def _capsule(draws: _Draws, part: str, defect: str | None, strength: int) -> Views:
    """A two-coloured capsule with an imprint on a light, dusty table."""
    table = _dusty(draws)
    y, x = (SIZE * _UNIT // 2 + draws.integer(-5, 5) * _UNIT for _ in range(2))
    cos, sin = draws.direction(8)
    u, v = _turned(y, x, (cos, sin))
    radius, text = np.full_like(u, 26 * _UNIT), _TEXT
    shadow = np.roll(np.clip(256 - 2 * _outside(u, v, radius), 0, 256), (4, 3), (0, 1))
    table = np.maximum(table - _box(shadow, 3)[..., None] * 34 // 256, 182)

    def lying(shell: Ints) -> Ints:
        return _mix(table, shell, np.clip(128 - 16 * _outside(u, v, radius), 0, 256))

    shell = _shell(u, v, radius, text)
    scene = lying(shell)
    along = draws.integer(-34, 34) * _UNIT
    y, x = y + along * sin // 4096, x + along * cos // 4096
    if defect == "crack":
        line = _line(draws, (y, x), 12 + 10 * strength, bend=1500)
        shell = _mix(shell, shell * 3 // 10, _stroke(line, 9 + 4 * strength))
    elif defect == "dent":
        bump = np.clip(256 - 256 * (u - along) ** 2 // ((14 + 4 * strength) * _UNIT) ** 2, 0, 256)
        side = np.clip(v * (2 * draws.integer(0, 1) - 1), 0, 256)
        radius = radius - bump * side // 256 * (5 + 3 * strength) * _UNIT // 256
        shell = _shell(u, v, radius, text)
    elif defect == "faulty_imprint":
        double = text | np.roll(text, (2, 3), (0, 1))
        shell = _shell(u, v, radius, (text * _FIRST_DIGIT, double, text[:, ::-1])[strength])
    elif defect == "poke":
        shell = _mix(shell, shell // 4, _spot(draws, 4 + strength, 96, (y, x)))
    elif defect == "scratch":
        for _ in range(1 + strength):
            aside = draws.integer(-8, 8) * _UNIT
            line = _line(draws, (y + aside, x + aside), draws.integer(15, 40), bend=40)
            shell = _mix(shell, (206, 172, 124), _stroke(line, 7 + 2 * strength) * 7 // 8)
    return scene, lying(shell)


@dataclass(frozen=True)
class _Category:
    render: Callable[[_Draws, str, str | None, int], Views]
    defects: tuple[str, ...]
    each: int  # test images of every defect


_CATEGORIES = {
    "capsule": _Category(_capsule, _CAPSULE, 7),
    "metal": _Category(_metal, tuple(_METAL), 16),
    **{
        name: _Category(partial(_texture, name=name), tuple(texture.defects), 8)
        for name, texture in _TEXTURES.items()
    },
}
CATEGORIES = tuple(sorted(_CATEGORIES))


def generate(category: str) -> Iterator[MiniImage]:
    """The images of ``category``: train, good test images, then one defect type after the other.

    Every third image of a defect shows it faintly. Raises KeyError if there is no such category.
    """
    chosen = _CATEGORIES[category]
    kinds: list[tuple[str, str | None, int]] = [("train", None, _TRAIN), ("test", None, _GOOD)]
    kinds += [("test", defect, chosen.each) for defect in chosen.defects]
    for part, defect, count in kinds:
        for index in range(count):
            path = f"{part}/{defect or 'good'}/{index:03}.png"
            draws = _Draws(f"{category}/{path}")
            views = chosen.render(draws, part, defect, index % 3)
            clean, image = map(_lights(draws, index), views)
            if defect is None:
                yield MiniImage(path, image, clean, None)
            else:
                mask = _changed(clean, image)
                image = np.where(mask[..., None], image, clean)
                yield MiniImage(path, image, clean, mask.astype(np.uint8) * 255)


def _changed(clean: Bytes, image: Bytes) -> NDArray[np.bool_]:
    """The mask of the visible change, without small holes, [SIZE, SIZE]."""
    change = np.abs(image.astype(np.int64) - clean).max(axis=2)
    changed = (_box(change * 16, 2) >= _VISIBLE * 16) & (change > 0)
    filled: NDArray[np.bool_] = changed | (_box(changed * 9, 1) > 4)
    return filled


def build(root: Path) -> Path:
    """Write the five categories into ``root / VERSION`` if they are missing; return that folder.

    The folder appears only when it is complete: an interrupted build is removed and done again.
    Processes wait for each other. Raises OSError if ``root`` cannot be written.
    """
    home = root / str(VERSION)
    if home.is_dir():
        return home
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        if home.is_dir():  # another process finished first
            return home
        for left in root.glob(".building-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=".building-", dir=root) as scratch:
            drawn = Path(scratch) / home.name
            for category in CATEGORIES:
                for item in generate(category):
                    _write(drawn / category / item.path, item.image)
                    if item.mask is not None:
                        _write(drawn / category / item.mask_path, item.mask)
            try:
                drawn.rename(home)
            except OSError:  # where locks have no effect, another process may be first
                if not home.is_dir():
                    raise
    return home


def _write(path: Path, image: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_png(image))


def _png(image: Bytes) -> bytes:
    """PNG of a grey [H, W] or RGB [H, W, 3] image, uncompressed, since zlib versions differ."""
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    blocks = [rows[start : start + 65535] for start in range(0, len(rows), 65535)]
    stored = b"".join(
        struct.pack("<?HH", block is blocks[-1], len(block), 65535 - len(block)) + block
        for block in blocks
    )
    height, width = image.shape[:2]
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, 0),
        b"IDAT": b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows)),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks.items()
    )
