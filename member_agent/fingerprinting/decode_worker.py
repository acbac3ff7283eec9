"""The process that opens pictures nobody vouches for: it decodes one at a time and answers with hashes alone.

Started by `decode.ImageDecoder`. One request a line on standard input, one answer a line on standard output, both JSON.
It lives under hard limits of memory and processor time, can write no file, and is given no secret. Pixels never
leave it. A picture that breaks a limit costs this process its life, and the picture an error.

Whatever the file says, what is hashed is luma, 8 bits, upright (EXIF), transparent parts on white. Colour profiles are
ignored. A JPEG's luma is taken as stored instead of by way of RGB: half the time, at most 4 bits apart on real photos.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from alliance.errors import AllianceError, InvalidInput
from member_agent.fingerprinting.image import Variant, publisher_variants, querier_probes
from member_agent.fingerprinting.pdq import Pixels

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS: Final = 40_000_000
MAX_SIDE: Final = 30_000
MAX_FILE_BYTES: Final = 256 << 20

_MODES: Final[dict[str, Callable[[Pixels], list[Variant]]]] = {
    "publish": publisher_variants,
    "probe": querier_probes,
}
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG: Final = 0x0112


def read_luma(path: Path) -> Pixels:
    """The picture's luma, H x W; the first frame where there are several.

    Raises: InvalidInput (IMAGE_MISSING, IMAGE_EMPTY, IMAGE_UNREADABLE, IMAGE_TRUNCATED, IMAGE_TOO_LARGE).
    """
    with _open(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as picture:
                _check_size(*picture.size)
                return np.asarray(_upright_luma(picture))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise _too_large(f"it has more than {MAX_PIXELS:,} pixels") from None
        except UnidentifiedImageError:
            raise _unreadable("it is in no picture format that is read") from None
        except MemoryError:
            raise _too_large("it does not fit into the memory allowed for decoding") from None
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError) as error:
            # What Pillow's parsers raise on broken files, which they do not wrap.
            if "truncated" in str(error) or isinstance(error, EOFError):
                raise _failure("IMAGE_TRUNCATED", "the file ends before its picture", "fetch it again") from error
            raise _unreadable(f"it is damaged: {str(error)[:120] or type(error).__name__}") from error


def _open(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable("it is no regular file")
        if status.st_size == 0:
            raise _failure("IMAGE_EMPTY", "the file is empty", "fetch it again")
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(f"the file has more than {MAX_FILE_BYTES >> 20} MiB")
        return path.open("rb")
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise _failure("IMAGE_MISSING", f"it cannot be opened: {detail}", "correct the path") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(f"it has {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")
    if max(width, height) > MAX_SIDE:
        raise _too_large(f"it has {width:,} x {height:,} pixels, and a side may have {MAX_SIDE:,}")


def _upright_luma(picture: Image.Image) -> Image.Image:
    if picture.format in ("JPEG", "MPO") and picture.mode == "RGB":
        picture.draft("L", picture.size)
    picture.load()
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG)
    except Exception:  # damaged EXIF data raises whatever it likes, and says nothing of the picture itself
        orientation = None
    luma = _luma(picture)
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return luma if turn is None else luma.transpose(turn)


def _luma(picture: Image.Image) -> Image.Image:
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        coloured = picture.convert("RGBA")
        canvas = Image.new("L", picture.size, 255)
        canvas.paste(coloured.convert("L"), mask=coloured.getchannel("A"))
        return canvas
    if picture.mode.startswith("I"):  # 16 bits, some of them held in 32
        deep = np.clip(np.asarray(picture), 0, 0xFFFF)
        return Image.fromarray((deep >> 8).astype(np.uint8))
    if picture.mode in ("1", "L", "P", "RGB"):
        return picture.convert("L")
    return picture.convert("RGB").convert("L")


def _failure(reason: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"picture cannot be used: {message}", reason=reason, remedy=remedy, field="image")


def _unreadable(message: str) -> InvalidInput:
    return _failure("IMAGE_UNREADABLE", message, f"save it as one of {', '.join(FORMATS)}")


def _too_large(message: str) -> InvalidInput:
    return _failure("IMAGE_TOO_LARGE", message, "use a smaller copy")


def answer(request: dict[str, str]) -> dict[str, object]:
    """The answer to {"path", "mode"}: {"values": [[kind, hex, quality], ...]} or {"error": {...}}."""
    try:
        variants = _MODES[request["mode"]](read_luma(Path(request["path"])))
    except MemoryError:
        return _refusal(_too_large("it does not fit into the memory allowed for hashing"))
    except AllianceError as error:
        return _refusal(error)
    return {"values": [[v.kind, v.hash.hex(), v.quality] for v in variants]}


def _refusal(error: AllianceError) -> dict[str, object]:
    return {"error": {"message": error.message, "reason": error.reason, "remedy": error.remedy}}


def _limit(memory_bytes: int) -> None:
    _, allowed = resource.getrlimit(resource.RLIMIT_AS)
    memory_bytes = memory_bytes if allowed == resource.RLIM_INFINITY else min(memory_bytes, allowed)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our input
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS


def _allow_processor_time(seconds: float) -> None:
    """Lets the next picture use so much; past it the kernel ends this process, even inside a C library."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + seconds), hard))


def main(argv: list[str]) -> int:
    memory_bytes, seconds = int(argv[0]), float(argv[1])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a C library prints is no answer
    _limit(memory_bytes)
    answers.write(b'{"ready": true}\n')
    for line in sys.stdin.buffer:
        _allow_processor_time(seconds)
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
