"""Hostile and odd picture files, through real worker processes: each has its own error, and harms no other picture."""

from __future__ import annotations

import io
import os
import signal
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from alliance.errors import AllianceError, InvalidInput, Unavailable
from bench import data
from member_agent.fingerprinting import decode
from member_agent.fingerprinting.decode import ImageDecoder, Mode
from member_agent.fingerprinting.decode_worker import read_luma
from member_agent.fingerprinting.image import Variant, publisher_variants, querier_probes


@pytest.fixture(scope="module")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(workers=1) as running:
        yield running


def photo(size: tuple[int, int] = (240, 180)) -> Image.Image:
    """A generated picture with detail of several scales, in colour."""
    random = np.random.default_rng(4)
    layers = [Image.fromarray(random.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(size) for n in (4, 12, 40)]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3)


def png_of_zeros(path: Path, width: int, height: int, *, rows: int | None = None) -> Path:
    """Writes a PNG of one bit a pixel, all black, in next to no bytes; `rows` fewer than it promises if given."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8) if rows != 0 else b""
    pixels = b"".join(packer.compress(line) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


def results(decoder: ImageDecoder, *paths: Path, mode: Mode = "publish") -> list[list[Variant] | AllianceError]:
    answered = list(decoder.fingerprint_files(paths, mode=mode))
    assert [path for path, _ in answered] == list(paths)
    return [result for _, result in answered]


def values(decoder: ImageDecoder, path: Path, *, mode: Mode = "publish") -> list[Variant]:
    (result,) = results(decoder, path, mode=mode)
    assert isinstance(result, list), result
    return result


def error(decoder: ImageDecoder, path: Path) -> InvalidInput:
    (result,) = results(decoder, path)
    assert isinstance(result, InvalidInput)
    assert result.remedy
    return result


def bits_apart(left: list[Variant], right: list[Variant]) -> int:
    return (int.from_bytes(left[0].hash, "big") ^ int.from_bytes(right[0].hash, "big")).bit_count()


def test_what_comes_back_is_what_the_pure_functions_say(decoder: ImageDecoder, tmp_path: Path) -> None:
    path = tmp_path / "ein Foto – 1.png"
    photo().save(path)
    luma = np.asarray(photo().convert("L"))
    assert values(decoder, path) == publisher_variants(luma)
    assert values(decoder, path, mode="probe") == querier_probes(luma)


def test_bad_files_each_have_their_reason_and_harm_no_other(decoder: ImageDecoder, tmp_path: Path) -> None:
    good = tmp_path / "good.jpg"
    photo().save(good)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:-2000])
    cut_png = tmp_path / "cut.png"
    photo().save(cut_png)
    cut_png.write_bytes(cut_png.read_bytes()[:9000])
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    dot = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(dot)
    postscript = tmp_path / "drawing.jpg"
    postscript.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n")
    fifo = tmp_path / "fifo.jpg"
    os.mkfifo(fifo)
    bomb = png_of_zeros(tmp_path / "bomb.png", 12_000, 12_000)
    assert bomb.stat().st_size < 30_000
    expected = {
        bomb: "IMAGE_TOO_LARGE",
        png_of_zeros(tmp_path / "huge.png", 2**31 - 1, 2**31 - 1, rows=0): "IMAGE_TOO_LARGE",
        png_of_zeros(tmp_path / "thread.png", 35_000, 1): "IMAGE_TOO_LARGE",
        png_of_zeros(tmp_path / "black.png", 3_000, 3_000): "IMAGE_LOW_QUALITY",
        dot: "IMAGE_LOW_QUALITY",
        cut: "IMAGE_TRUNCATED",
        cut_png: "IMAGE_TRUNCATED",
        text: "IMAGE_UNREADABLE",
        postscript: "IMAGE_UNREADABLE",
        fifo: "IMAGE_UNREADABLE",
        tmp_path: "IMAGE_UNREADABLE",
        empty: "IMAGE_EMPTY",
        tmp_path / "none.jpg": "IMAGE_MISSING",
        tmp_path / "nul\0.jpg": "IMAGE_MISSING",
        tmp_path / ("long" * 1000): "IMAGE_MISSING",
    }
    between = [path for bad in expected for path in (bad, good)]
    answers = results(decoder, *between)
    found = {
        path: answer.reason for path, answer in zip(between, answers, strict=True) if isinstance(answer, Exception)
    }
    assert found == expected
    assert len({str(answer) for answer in answers[1::2]}) == 1, "the good one is the same every time"


@pytest.mark.realdata
def test_a_photo_damaged_in_the_wild_is_refused(decoder: ImageDecoder) -> None:
    folder = data.folder()
    if folder is None:
        pytest.skip("the real data sets are not on this machine")
    path = folder / "imagededup_ukbench" / "mixed_images" / "ukbench09268_corrupt.jpg"
    assert error(decoder, path).reason == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(decoder: ImageDecoder, tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = photo().transpose(undo[orientation]) if orientation in undo else photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    stored.save(path, exif=exif, quality=95)
    upright = publisher_variants(np.asarray(photo().convert("L")))
    assert bits_apart(values(decoder, path), upright) <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "YCbCr"])
def test_every_kind_of_pixel_is_the_same_picture(decoder: ImageDecoder, tmp_path: Path, mode: str) -> None:
    if mode.startswith("I"):
        deep = np.asarray(photo().convert("L")).astype(np.uint16 if mode == "I;16" else np.int32) * 257
        stored = Image.fromarray(deep)
    else:
        stored = photo().convert(mode)
    assert stored.mode == mode
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "I", "YCbCr") else "picture.png")
    stored.save(path)
    upright = publisher_variants(np.asarray(photo().convert("L")))
    assert bits_apart(values(decoder, path), upright) <= (31 if mode in ("1", "P") else 4)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
def test_every_format_is_the_same_picture(decoder: ImageDecoder, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    photo().save(path)
    upright = publisher_variants(np.asarray(photo().convert("L")))
    assert bits_apart(values(decoder, path), upright) <= (16 if suffix == "gif" else 6)


def test_an_animation_is_its_first_frame(decoder: ImageDecoder, tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    photo().save(path, save_all=True, append_images=[Image.new("RGB", photo().size, "red")])
    upright = publisher_variants(np.asarray(photo().convert("L")))
    assert bits_apart(values(decoder, path), upright) <= 16


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    seen = photo().convert("RGBA")
    seen.putalpha(Image.linear_gradient("L").resize(seen.size))
    path = tmp_path / "seen.png"
    seen.save(path)
    white = Image.new("RGBA", seen.size, "white")
    expected = np.asarray(Image.alpha_composite(white, seen).convert("L")).astype(int)
    assert np.abs(read_luma(path) - expected).max() <= 2


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    photo().save(path)
    others = set(psutil.Process().children())
    with ImageDecoder(workers=1, timeout_seconds=1) as decoder:
        values(decoder, path)
        (worker,) = set(psutil.Process().children()) - others
        worker.suspend()
        first, second = results(decoder, path, path)
        assert isinstance(first, InvalidInput)
        assert first.reason == "IMAGE_TIMEOUT"
        assert isinstance(second, list)
        assert not worker.is_running()


def test_a_worker_that_is_killed_costs_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    photo().save(path)
    others = set(psutil.Process().children())
    with ImageDecoder(workers=1) as decoder:
        values(decoder, path)
        (worker,) = set(psutil.Process().children()) - others
        worker.suspend()  # so that it is busy when the kernel, short of memory, picks it
        threading.Timer(0.2, worker.kill).start()
        first, second = results(decoder, path, path)
        assert isinstance(first, InvalidInput)
        assert (first.reason, "status -9" in str(first)) == ("IMAGE_UNREADABLE", True)
        assert isinstance(second, list)
        (worker,) = set(psutil.Process().children()) - others
        worker.kill()  # while it has nothing to do
        worker.wait()
        assert isinstance(results(decoder, path)[0], list)


def test_memory_and_processor_time_are_limited(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4500, 4500), dtype=np.uint8)
    path = tmp_path / "large.bmp"
    Image.fromarray(noise).convert("RGB").save(path)
    with ImageDecoder(workers=1, memory_limit_bytes=200 << 20) as decoder:
        assert error(decoder, path).reason == "IMAGE_TOO_LARGE"
    assert decode._died(-signal.SIGXCPU).reason == "IMAGE_TIMEOUT"


def test_workers_have_no_secrets_and_do_not_outlive_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLIANCE_PASSPHRASE", "canary")
    path = tmp_path / "picture.png"
    photo().save(path)
    others = set(psutil.Process().children())
    with ImageDecoder(workers=2) as decoder:
        assert all(isinstance(result, list) for result in results(decoder, *[path] * 6))
        workers = set(psutil.Process().children()) - others
        assert len(workers) == 2
        assert all("ALLIANCE_PASSPHRASE" not in worker.environ() for worker in workers)
    assert not any(worker.is_running() for worker in workers)


def test_pictures_in_hand_are_bounded_and_a_stopped_reader_leaves_nothing_behind(
    decoder: ImageDecoder, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(100)]
    for number, path in enumerate(paths[:3]):
        photo((100 + number, 100)).save(path)
    asked: list[Path] = []

    def asking() -> Iterator[Path]:
        for path in paths:
            asked.append(path)
            yield path

    stream = decoder.fingerprint_files(asking())
    next(stream)
    assert len(asked) <= 8
    stream.close()  # type: ignore[attr-defined]  # because it is a generator, which the signature does not promise
    assert values(decoder, paths[2]) == publisher_variants(read_luma(paths[2]))


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"values": []}\n',
        b'{"values": [["whole", "00", 100]]}\n',
        b'{"values": [["whole", "zz", 100]]}\n',
        b'{"error": "text"}\n',
        b'{"values": [1]}\n',
    ],
)
def test_a_worker_is_not_believed_everything(line: bytes) -> None:
    answer = decode._parse(line)
    assert isinstance(answer, InvalidInput)
    assert "nonsense" in str(answer)


def test_workers_that_do_not_start_are_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with ImageDecoder(workers=1) as decoder, pytest.raises(Unavailable, match="does not start"):
        list(decoder.fingerprint_files([tmp_path / "x.png"]))


def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    stored = io.BytesIO()
    photo().save(stored, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")
    path = tmp_path / "odd.jpg"
    path.write_bytes(stored.getvalue())
    assert read_luma(path).shape == (180, 240)
