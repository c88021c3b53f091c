"""The pictures of `mini`, the dataset that needs no download.

Three textures are cut from the CC0 photographs inside scikit-image (train from the left half, test
from the right), two objects are drawn. Everything is whole-number arithmetic on the raw stream of
PCG64, so that every machine makes the same pictures.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import skimage.data
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]
Views = list[Ints]  # the scene without and with its defect, [SIZE, SIZE, 3]

VERSION = 1  # raise it when a pixel changes: `build` keeps one folder a version
SIZE = 192  # pixels, both sides
_VISIBLE = 7  # grey levels: a smaller change (mean of 3x3 pixels) is no defect

_UNIT = 16  # coordinates are in sixteenths of a pixel
_Y, _X = np.indices((SIZE, SIZE), dtype=np.int64) * _UNIT


@dataclass(frozen=True)
class MiniImage:
    """One picture: its place in the MVTec layout, the picture and what is wrong with it.

    `image` and `clean` (the same view before the defect) are uint8 [SIZE, SIZE, 3] RGB. `mask` is
    uint8 [SIZE, SIZE], 255 where they may differ and 0 elsewhere; None for a good image.
    """

    path: str
    image: Bytes
    clean: Bytes
    mask: Bytes | None

    @property
    def mask_path(self) -> str:
        """Where the mask lies: `ground_truth/crack/000_mask.png` for `test/crack/000.png`."""
        return self.path.replace("test/", "ground_truth/", 1).replace(".png", "_mask.png")


class _Draws:
    """Random whole numbers from PCG64's raw stream, which numpy keeps as it is for good."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(key)

    def integer(self, low: int, high: int) -> int:
        """One number from `low` to `high`, both included."""
        return low + (self._bits.random_raw() * (high - low + 1) >> 64)

    def sign(self) -> int:
        """Minus one or one."""
        return 2 * self.integer(0, 1) - 1

    def field(self, low: int, high: int, *shape: int) -> Ints:
        """Independent numbers from `low` to `high` of the given shape."""
        raw = (self._bits.random_raw(int(np.prod(shape))) >> np.uint64(32)).astype(np.int64)
        return low + (raw * (high - low + 1) >> 32).reshape(shape)

    def direction(self, steepest: int = 64) -> tuple[int, int]:
        """Cosine and sine, in 4096ths, of an angle within 90 degrees (2 atan(steepest / 64))."""
        t = self.integer(-steepest, steepest)
        return 4096 * (4096 - t * t) // (4096 + t * t), 4096 * 128 * t // (4096 + t * t)

    def smooth(self, *radii: int, along: int | None = None) -> Ints:
        """A [SIZE, SIZE] field within +-256 that varies over about `radii` pixels, summed.

        `along` is the radius in x where that differs from the radius in y.
        """
        total = np.zeros((SIZE, SIZE), np.int64)
        for radius in radii:
            wave = self.field(-(1 << 20), 1 << 20, SIZE, SIZE)
            for _ in range(2):
                wave = _box(wave, radius, radius if along is None else along)
            total += wave * 256 // np.abs(wave).max()
        return total * 256 // np.abs(total).max()


def _box(values: Ints, radius: int, along: int | None = None) -> Ints:
    """Box mean over the first two axes; the opposite border goes on beyond a border."""
    for axis, reach in enumerate((radius, radius if along is None else along)):
        pad = [(0, 0)] * values.ndim
        pad[axis] = (reach + 1, reach)
        total = np.moveaxis(np.cumsum(np.pad(values, pad, mode="wrap"), axis), axis, 0)
        width = 2 * reach + 1
        values = np.moveaxis((total[width:] - total[:-width] + reach) // width, 0, axis)
    return values


def _root(squares: Ints) -> Ints:
    """Whole square roots; exact, as IEEE 754 rounds square roots correctly."""
    return np.sqrt(squares.astype(np.float64)).astype(np.int64)


def _mix(under: Ints, over: Ints | Colour, alpha: Ints) -> Ints:
    """Lay `over` on `under` [H, W, 3]; `alpha` [H, W] is 0 to 256."""
    return under + (np.asarray(over) - under) * alpha[..., None] // 256


def _turned(y: int, x: int, direction: tuple[int, int]) -> tuple[Ints, Ints]:
    """Coordinates along and across `direction` as seen from the point (y, x)."""
    cos, sin = direction
    u = ((_X - x) * cos + (_Y - y) * sin) // 4096
    return u, ((_Y - y) * cos - (_X - x) * sin) // 4096


def _spot(draws: _Draws, radius: int, edge: int, place: tuple[int, int]) -> Ints:
    """Alpha of a ragged blob of about `radius` pixels at `place`.

    `edge` is the softness of its rim: 16 is sharp, 256 fades from the centre on.
    """
    u, v = _turned(*place, draws.direction())
    stretch = draws.integer(16, 28)
    ellipse = 256 * (u * u * 16 // stretch + v * v * stretch // 16) // (radius * _UNIT) ** 2
    ragged = draws.smooth(max(2, radius // 3), max(1, radius // 6))
    return np.clip((256 - ellipse + ragged * 5 // 8) * 256 // edge, 0, 256)


def _line(draws: _Draws, start: tuple[int, int], length: int, bend: int) -> Ints:
    """Squared distance (in 256ths of a pixel squared) to a line that turns by up to `bend`."""
    cos, sin = draws.direction()
    y, x = start
    nearest = np.full((SIZE, SIZE), 1 << 40, np.int64)
    for _ in range(length):
        nearest = np.minimum(nearest, (_Y - y) ** 2 + (_X - x) ** 2)
        turn = draws.integer(-bend, bend)
        cos, sin = cos - sin * turn // 4096, sin + cos * turn // 4096
        norm = int(_root(np.array(cos * cos + sin * sin)))
        cos, sin = cos * 4096 // norm, sin * 4096 // norm
        y, x = y + sin * _UNIT // 4096, x + cos * _UNIT // 4096
    return nearest


def _stroke(distance: Ints, width: int) -> Ints:
    """Alpha of a stroke `width` sixteenths of a pixel to each side, with soft edges."""
    return np.clip((width - _root(distance)) * 16 + 128, 0, 256)


def _somewhere(draws: _Draws) -> tuple[int, int]:
    return _UNIT * draws.integer(40, SIZE - 41), _UNIT * draws.integer(40, SIZE - 41)


def _lit(draws: _Draws, index: int, *versions: Ints) -> Views:
    """Put the same exposure, light and sensor grain on every version of a scene.

    Exposures go round with the index, so that they are alike in good and in defective images.
    """
    cos, sin = draws.direction()
    slope = ((_X - _X.mean().astype(np.int64)) * cos + (_Y - SIZE * _UNIT // 2) * sin) // 4096
    light = 238 + 36 * (index * 5 % 8) // 7 + slope * draws.integer(0, 10) // (SIZE * _UNIT // 2)
    grain = draws.field(-4, 4, SIZE, SIZE, 1) + draws.field(-2, 2, SIZE, SIZE, 3)
    return [np.clip(scene * light[..., None] // 256 + grain, 0, 255) for scene in versions]


Defect = Callable[[_Draws, Ints, int], Ints]  # (draws, scene, strength 0 to 2) -> scene


def _crack(draws: _Draws, scene: Ints, strength: int) -> Ints:
    line = _line(draws, _somewhere(draws), draws.integer(30, 70), bend=1100)
    return _mix(scene, scene * 3 // 10, _stroke(line, 8 + 6 * strength))


def _hole(draws: _Draws, scene: Ints, strength: int) -> Ints:
    spot = _spot(draws, 9 + 4 * strength, 48, _somewhere(draws))
    shade = spot - np.roll(spot, 3, axis=0)
    return _mix(scene, _box(scene, 3) * 2 // 5 - shade[..., None] // 10, spot)


def _stain(draws: _Draws, scene: Ints, strength: int, *, tint: Colour) -> Ints:
    spot = _spot(draws, draws.integer(16, 22), 128, _somewhere(draws)) * (6 + 3 * strength) // 12
    return _mix(scene, scene * np.array(tint) // 256, spot)


def _overgrown(draws: _Draws, scene: Ints, strength: int, *, by: str) -> Ints:
    spot = _spot(draws, draws.integer(14, 20), 128, _somewhere(draws)) * (6 + 3 * strength) // 12
    return _mix(scene, _surface(draws, by, "test"), spot)


def _smeared(draws: _Draws, scene: Ints, strength: int, *, least: int) -> Ints:
    return _mix(
        scene,
        _box(scene, least + strength),
        _spot(draws, draws.integer(18, 24), 64, _somewhere(draws)),
    )


def _misplaced(draws: _Draws, scene: Ints, strength: int) -> Ints:
    return _mix(scene, np.rot90(scene), _spot(draws, 14 + 4 * strength, 32, _somewhere(draws)))


@dataclass(frozen=True)
class _Texture:
    """A photograph, the colours of its black and white, and what goes wrong with it."""

    photo: Callable[[], Bytes]
    dark: Colour
    light: Colour
    defects: dict[str, Defect]


_TEXTURES = {
    "brick": _Texture(
        lambda: skimage.data.brick().T,
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
        skimage.data.grass,
        (14, 26, 4),
        (206, 226, 128),
        {
            "bare": partial(_overgrown, by="gravel"),
            "dry": partial(_stain, tint=(370, 250, 180)),
            "hole": _hole,
            "trampled": partial(_smeared, least=2),
        },
    ),
    "gravel": _Texture(
        skimage.data.gravel,
        (26, 24, 24),
        (236, 230, 218),
        {
            "oil": partial(_stain, tint=(120, 112, 108)),
            "hole": _hole,
            "mud": partial(_smeared, least=1),
            "weed": partial(_overgrown, by="grass"),
        },
    ),
}


@cache
def _photo(name: str) -> Ints:
    return _TEXTURES[name].photo().astype(np.int64)


def _surface(draws: _Draws, name: str, part: str) -> Ints:
    """A coloured cut from the half of the photograph that belongs to `part`."""
    half = np.split(_photo(name), 2)[part == "test"]
    y, x = (draws.integer(0, size - SIZE) for size in half.shape)
    cut = half[y : y + SIZE, x : x + SIZE]
    if draws.integer(0, 1):
        cut = cut[:, ::-1]
    dark, light = (np.array(colour) for colour in (_TEXTURES[name].dark, _TEXTURES[name].light))
    return dark + (light - dark) * cut[..., None] // 255


def _texture(draws: _Draws, part: str, defect: str | None, index: int, *, name: str) -> Views:
    scene = _surface(draws, name, part)
    if defect is None:
        return _lit(draws, index, scene, scene)
    return _lit(draws, index, scene, _TEXTURES[name].defects[defect](draws, scene, index % 3))


def _spotted(draws: _Draws, scene: Ints, strength: int) -> Ints:
    spot = _spot(draws, 3 + draws.integer(0, 2) + 2 * strength, 120, _somewhere(draws))
    return _mix(scene, scene * draws.integer(120, 150) // 256, spot * (5 + 2 * strength) // 10)


def _scratched(draws: _Draws, scene: Ints, strength: int) -> Ints:
    line = _line(draws, _somewhere(draws), draws.integer(30, 80), bend=120)
    groove = _stroke(line, 4 + 4 * strength) * (6 + 2 * strength) // 10
    scene = _mix(scene, scene * 150 // 256, np.roll(groove, 1, axis=0))
    return _mix(scene, (235, 236, 238), groove)


_METAL = {"scratch": _scratched, "spot": _spotted}


def _metal(draws: _Draws, part: str, defect: str | None, index: int) -> Views:
    brushed = draws.smooth(0, along=24) + draws.smooth(1, along=40) + draws.smooth(0, along=6) // 2
    level = 140 + brushed * draws.integer(14, 24) // 256 + draws.smooth(30) * 10 // 256
    scene = level[..., None] * np.array((252, 256, 262)) // 256
    if defect is None:
        return _lit(draws, index, scene, scene)
    return _lit(draws, index, scene, _METAL[defect](draws, scene, index % 3))


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
_NO_FIVE = (np.arange(17) < 6) | (np.arange(17) > 10)


def _imprint(u: Ints, v: Ints, text: Ints) -> Ints:
    """Alpha of the print, its lower left corner at (u, v) = 0, cells of two pixels."""
    rows, columns = text.shape
    row, column = v // 32, u // 32
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    cells = text[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
    return _box(np.where(inside, cells * 220, 0), 1)


def _dusty(draws: _Draws) -> Ints:
    """A light table top with uneven light, clumps of dust, fibres and wipe marks."""
    clumps = np.clip(draws.smooth(9, 20) + draws.integer(-160, 60), 0, 256)
    amount = draws.integer(1, 8)
    dust = np.zeros((SIZE, SIZE), np.int64)
    for size, depth in ((0, 36), (1, 300), (2, 700)):
        falls = draws.field(0, 40000 << 2 * size, SIZE, SIZE) < clumps * amount + 20
        dust += _box(falls * draws.field(depth // 3, depth, SIZE, SIZE), size)
    for _ in range(draws.integer(0, 6)):
        start = (_UNIT * draws.integer(0, SIZE), _UNIT * draws.integer(0, SIZE))
        line = _line(draws, start, draws.integer(10, 45), draws.integer(50, 1200))
        dust += _stroke(line, draws.integer(7, 14)) * draws.integer(20, 50) // 256
    # Lit from one side, dust has a bright edge and a dark one.
    relief = np.clip(np.roll(dust, (1, 1), (0, 1)) - dust, -40, 36)
    return (214 + draws.smooth(28) * 5 // 256 + relief)[..., None] + np.array((3, 0, -7))


def _capsule(draws: _Draws, part: str, defect: str | None, index: int) -> Views:
    strength = index % 3
    table = _dusty(draws)
    y, x = (SIZE * _UNIT // 2 + draws.integer(-5, 5) * _UNIT for _ in range(2))
    cos, sin = draws.direction(8)
    u, v = _turned(y, x, (cos, sin))

    def outside(radius: Ints) -> Ints:
        return _root(np.maximum(np.abs(u) - 30 * _UNIT, 0) ** 2 + v * v) - radius

    def surface(radius: Ints, text: Ints) -> tuple[Ints, Ints]:
        depth = -outside(radius)
        lift = np.clip(depth * 256 // radius, 0, 256)
        shell = np.broadcast_to(np.array((54, 96, 104)), (SIZE, SIZE, 3))
        shell = _mix(shell, (204, 84, 44), np.clip((u + 4 * _UNIT) * 16, 0, 256))
        shell = _mix(shell, (40, 20, 18), np.clip(128 - np.abs(u + 4 * _UNIT) * 5, 0, 256))
        shell = shell * (120 + lift * (512 - lift) * 130 // 65536)[..., None] // 256
        gloss = np.clip(256 - np.abs(v + radius // 3) * 3, 0, 256)
        gloss = gloss * np.clip(736 - np.abs(u), 0, 256) // 768
        shell = _mix(shell, (240, 210, 136), gloss)
        shell = _mix(shell, (40, 16, 14), _imprint(u - 8 * _UNIT, v + 7 * _UNIT, text))
        return shell, np.clip(depth * 16 + 128, 0, 256)

    radius, text = np.full_like(u, 26 * _UNIT), _TEXT
    shell, cover = surface(radius, text)
    shadow = np.roll(np.clip(256 - 2 * outside(radius), 0, 256), (4, 3), (0, 1))
    table = np.maximum(table - _box(shadow, 3)[..., None] * 34 // 256, 182)
    scene = _mix(table, shell, cover)
    along = draws.integer(-34, 34) * _UNIT
    place = y + along * sin // 4096, x + along * cos // 4096
    if defect == "crack":
        line = _line(draws, place, 12 + 10 * strength, bend=1500)
        shell = _mix(shell, shell * 3 // 10, _stroke(line, 8 + 4 * strength))
    elif defect == "faulty_imprint":
        text = (text * _NO_FIVE, text | np.roll(text, (2, 2), (0, 1)), text[:, ::-1])[strength]
        shell, cover = surface(radius, text)
    elif defect == "poke":
        shell = _mix(shell, shell // 4, _spot(draws, 3 + strength, 120, place))
    elif defect == "scratch":
        for _ in range(1 + strength):
            jitter = draws.integer(-8, 8) * _UNIT
            line = _line(draws, (place[0] + jitter, place[1] + jitter), draws.integer(15, 40), 40)
            shell = _mix(shell, (204, 176, 138), _stroke(line, 5 + 2 * strength) * 3 // 4)
    elif defect == "dent":
        bump = np.clip(256 - 256 * (u - along) ** 2 // ((14 + 4 * strength) * _UNIT) ** 2, 0, 256)
        side = np.clip(v * draws.sign(), 0, 256)
        radius = radius - bump * side // 256 * (5 + 3 * strength) * _UNIT // 256
        shell, cover = surface(radius, text)
    return _lit(draws, index, scene, _mix(table, shell, cover))


_CAPSULE = ("crack", "dent", "faulty_imprint", "poke", "scratch")


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
_TRAIN, _GOOD = 48, 20


def generate(category: str) -> Iterator[MiniImage]:
    """Yield the pictures of a category: train, then test, in the order of their paths' numbers."""
    chosen = _CATEGORIES[category]
    kinds = [("train", None, _TRAIN), ("test", None, _GOOD)]
    kinds += [("test", defect, chosen.each) for defect in chosen.defects]
    for place, (part, defect, count) in enumerate(kinds):
        for index in range(count):
            draws = _Draws(*category.encode(), place, index)
            views = chosen.render(draws, part, defect, index)
            clean, image = (view.astype(np.uint8) for view in views)
            path = f"{part}/{defect or 'good'}/{index:03}.png"
            if defect is None:
                yield MiniImage(path, clean, clean, None)
                continue
            change = np.abs(views[1] - views[0]).max(axis=2)
            changed = (_box(change * 16, 2) >= _VISIBLE * 16) & (change > 0)
            changed |= _box(changed * 9, 1) > 4  # no pinholes
            yield MiniImage(
                path,
                np.where(changed[..., None], image, clean),
                clean,
                changed.astype(np.uint8) * 255,
            )


def build(root: Path) -> Path:
    """Write the five categories into `root / VERSION`, unless they are there, and return it.

    They appear there at once and complete: a build that was cut off leaves nothing in the way, and
    processes that build at the same time all end with the same files.
    """
    home = root / str(VERSION)
    if home.is_dir():
        return home
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=root) as scratch:
        drawn = Path(scratch) / home.name
        for category in CATEGORIES:
            for item in generate(category):
                _write(drawn / category / item.path, item.image)
                if item.mask is not None:
                    _write(drawn / category / item.mask_path, item.mask)
        try:
            drawn.rename(home)
        except OSError:  # another process was first
            if not home.is_dir():
                raise
    return home


def _write(path: Path, image: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_png(image))


def _png(image: Bytes) -> bytes:
    """PNG of a grey [H, W] or RGB [H, W, 3] image, stored: packers differ from version to version."""
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
