"""Copies of a photo as they turn up in listings: re-encoded, resized, cropped, padded, flipped.

Every transform is a pure function of the picture: the same copy each time, nothing drawn at random. Its result has been
through JPEG, as a picture that was uploaded has. `COPIES` is what the demo and the benchmark score; `HARDER` is
reported beside it, uncounted, to show where the fingerprints end. Names are `group-detail-amount`, amounts in percent.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from PIL import Image, ImageDraw, ImageFilter, ImageOps

Transform: TypeAlias = Callable[[Image.Image], Image.Image]

UPLOAD_QUALITY: Final = 80
_BLUR: Final = 0.04  # of the longer side: no detail left, as in the frames of short-video thumbnails

_CROPS: Final[Mapping[str, tuple[int, int, int, int]]] = {  # which sides are cut: left, top, right, bottom
    "left": (1, 0, 0, 0),
    "top": (0, 1, 0, 0),
    "right": (0, 0, 1, 0),
    "bottom": (0, 0, 0, 1),
    "all": (1, 1, 1, 1),
    "lefttop": (1, 1, 0, 0),
    "righttop": (0, 1, 1, 0),
    "leftbottom": (1, 0, 0, 1),
    "rightbottom": (0, 0, 1, 1),
}


def jpeg(picture: Image.Image, *, quality: int = UPLOAD_QUALITY) -> Image.Image:
    """The picture after a round through JPEG."""
    with io.BytesIO() as stored:
        picture.convert("RGB").save(stored, "JPEG", quality=quality)
        with Image.open(stored, formats=("JPEG",)) as read:
            return read.convert("RGB")


def resized(picture: Image.Image, *, percent: int) -> Image.Image:
    size = tuple(max(1, round(side * percent / 100)) for side in picture.size)
    return jpeg(picture.resize((size[0], size[1]), Image.Resampling.LANCZOS))


def cropped(picture: Image.Image, *, sides: tuple[int, int, int, int], percent: float) -> Image.Image:
    """Cuts so much of the width (height) off at each of the sides."""
    width, height = picture.size
    left, top, right, bottom = (side * percent / 100 for side in sides)
    box = (round(width * left), round(height * top), width - round(width * right), height - round(height * bottom))
    return jpeg(picture.crop(box))


def padded(picture: Image.Image, *, fill: str, percent: int) -> Image.Image:
    """Sets the picture into a frame that adds so much of its width (height) at each side."""
    dx, dy = (round(side * percent / 100) for side in picture.size)
    framed = (picture.width + 2 * dx, picture.height + 2 * dy)
    return _framed(picture, framed, fill=fill)


def squared(picture: Image.Image, *, fill: str) -> Image.Image:
    """Fills the picture up to a square, as marketplaces do."""
    return _framed(picture, (max(picture.size), max(picture.size)), fill=fill)


def flipped(picture: Image.Image) -> Image.Image:
    return jpeg(ImageOps.mirror(picture))


def badged(picture: Image.Image) -> Image.Image:
    """Covers a corner, a fifth of the width and height, with a red seal."""
    marked = picture.convert("RGB")
    ImageDraw.Draw(marked).ellipse((0, 0, picture.width // 5, picture.height // 5), fill=(200, 20, 20))
    return jpeg(marked)


def rotated(picture: Image.Image, *, degrees: float) -> Image.Image:
    return jpeg(picture.convert("RGB").rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white"))


def _framed(picture: Image.Image, size: tuple[int, int], *, fill: str) -> Image.Image:
    if fill == "blurred":
        frame = picture.convert("RGB").resize(size).filter(ImageFilter.GaussianBlur(max(size) * _BLUR))
    else:
        frame = Image.new("RGB", size, fill)
    frame.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    return jpeg(frame)


def _after(first: Transform, second: Transform) -> Transform:
    return lambda picture: second(first(picture))


COPIES: Final[Mapping[str, Transform]] = {
    **{f"reencoded-{quality}": partial(jpeg, quality=quality) for quality in (30, 50, 70, 90)},
    **{f"resized-{percent}": partial(resized, percent=percent) for percent in (25, 50, 150, 200)},
    **{
        f"cropped-{name}-{percent}": partial(cropped, sides=sides, percent=percent)
        for name, sides in _CROPS.items()
        for percent in (3, 7, 10)
    },
    **{
        f"padded-{fill}-{percent}": partial(padded, fill=fill, percent=percent)
        for fill in ("white", "black", "blurred")
        for percent in (5, 10, 20)
    },
    "padded-white-square": partial(squared, fill="white"),
    "flipped": flipped,
    "flipped-reencoded-30": _after(ImageOps.mirror, partial(jpeg, quality=30)),
    "flipped-reencoded-70": _after(ImageOps.mirror, partial(jpeg, quality=70)),
}

HARDER: Final[Mapping[str, Transform]] = {
    "flipped-cropped-all-5": _after(ImageOps.mirror, partial(cropped, sides=_CROPS["all"], percent=5)),
    "flipped-cropped-left-7": _after(ImageOps.mirror, partial(cropped, sides=_CROPS["left"], percent=7)),
    "cropped-uneven": partial(cropped, sides=(8, 3, 2, 6), percent=1),
    "cropped-all-15": partial(cropped, sides=_CROPS["all"], percent=15),
    "rotated-2": partial(rotated, degrees=2),
    "badged": badged,
}


def group(name: str) -> str:
    """The kind of transform a name belongs to: "reencoded", "resized", "cropped", "padded" or "flipped"."""
    return name.split("-", 1)[0]
