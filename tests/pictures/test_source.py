"""Pictures and tensors on their way to the graph's integers."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwseg.errors import HwsegError
from hwseg.ir import Graph, Head, TensorType
from hwseg.pictures.read import read_one
from hwseg.pictures.source import read_input, to_floats
from hwseg.pictures.table import normalize


def graph(channels: int = 1, size: tuple[int, int] = (6, 8), **metadata: str) -> Graph:
    kind = TensorType((*size, channels), 0, 255, (Fraction(1, 256),))
    names = {f"hwseg.{key}": value for key, value in metadata.items()}
    return Graph("net", "x", (), {"x": kind}, Head("x", kind.scale, (Fraction(0),)), names)


def picture(
    path: Path, size: tuple[int, int] = (6, 8), channels: int = 1, suffix: str = "png"
) -> tuple[Path, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(np.uint8)
    file = path / f"picture.{suffix}"
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(file)
    return file, pixels


def sentence(path: Path, net: Graph, fit: str = "") -> str:
    with pytest.raises(HwsegError) as caught:
        read_input(path, net, fit)
    return str(caught.value)


def test_a_pixel_is_its_integer(tmp_path: Path) -> None:
    for channels in (1, 3):
        file, pixels = picture(tmp_path, channels=channels)
        np.testing.assert_array_equal(read_input(file, graph(channels)), pixels)


def test_other_input_scales_round_half_to_even(tmp_path: Path) -> None:
    file, pixels = picture(tmp_path)
    net = graph()
    kind = TensorType((6, 8, 1), -8, 7, (Fraction(1, 32),))
    expected = np.clip(np.rint(pixels / 8.0), -8, 7)
    np.testing.assert_array_equal(read_input(file, replace(net, types={"x": kind})), expected)


def test_grey_and_colour_are_converted(tmp_path: Path) -> None:
    colour, pixels = picture(tmp_path, channels=3)
    luma = (pixels.astype(int) @ [19595, 38470, 7471] + (1 << 15)) >> 16
    np.testing.assert_array_equal(read_input(colour, graph(1))[:, :, 0], luma)
    grey, pixels = picture(tmp_path, channels=1)
    np.testing.assert_array_equal(read_input(grey, graph(3)), pixels.repeat(3, 2))


def test_normalization_comes_before_the_crop(tmp_path: Path) -> None:
    file, pixels = picture(tmp_path, (20, 30))
    found = read_input(file, graph(normalize="percentile 1 90"), "crop")
    np.testing.assert_array_equal(found, normalize(pixels, "percentile 1 90")[7:13, 11:19])


def test_fit(tmp_path: Path) -> None:
    file, pixels = picture(tmp_path, (12, 16))
    wrong = f"{file}: must be 8 wide and 6 high, is 16 by 12; use --fit crop or --fit resize"
    assert sentence(file, graph()) == wrong
    small = pixels.reshape(6, 2, 8, 2, 1).mean((1, 3))
    assert np.abs(read_input(file, graph(), "resize") - small).max() <= 1
    assert "too small to crop" in sentence(file, graph(size=(40, 40)), "crop")


def test_modes(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(file)
    wrong = (
        "must have 8 bits per channel, which the network's input is declared for, has 16 bits; convert it to that depth"
    )
    assert wrong in sentence(file, graph())
    assert "which the network was trained on, has 16" in sentence(file, graph(normalize="percentile 1 99"))
    Image.new("RGBA", (8, 6), (1, 2, 3, 100)).save(file)
    assert "must not be transparent" in sentence(file, graph())
    Image.new("RGBA", (8, 6), (7, 7, 7, 255)).save(file)
    assert (read_input(file, graph()) == 7).all()
    assert "must have 2 channels, has 3" in sentence(file, graph(2))


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a"])
def test_files_that_are_no_pictures(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    assert "is no picture, or a damaged one" in sentence(file, graph())
    assert "no such file" in sentence(tmp_path / "none.png", graph())


def test_truncated_pictures(tmp_path: Path) -> None:
    file, _ = picture(tmp_path, (60, 80))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert "damaged" in sentence(file, graph(size=(60, 80)))


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (1 << 13, 1 << 16):
        header = struct.pack(">IIBBBBB", side * 2, side, 8, 0, 0, 0, 0)
        file = tmp_path / "bomb.png"
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))))
        with pytest.raises(HwsegError):
            read_one(file)


def save(path: Path, array: np.ndarray) -> Path:
    file = path / "x.npy"
    np.save(file, array)
    return file


def test_tensors(tmp_path: Path) -> None:
    net = graph(2)
    q = np.random.default_rng(1).integers(0, 256, (6, 8, 2))
    x = to_floats(net, q)
    assert x.shape == (1, 2, 6, 8)
    for array in (x, x[0]):
        np.testing.assert_array_equal(read_input(save(tmp_path, array), net), q)
    between = save(tmp_path, x + np.float32(0.4 / 256))
    np.testing.assert_array_equal(read_input(between, net), q)
    assert "no input quantizer, so values must be n / 256" in sentence(between, replace(net, input_quantizer=False))
    np.testing.assert_array_equal(read_input(save(tmp_path, x), replace(net, input_quantizer=False)), q)


def test_the_input_quantizer_clamps(tmp_path: Path) -> None:
    x = np.full((1, 1, 6, 8), 3e38, np.float32)
    x[..., 0] = -5
    found = read_input(save(tmp_path, x), graph())
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:] == 255).all()


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    net = graph()
    x = np.zeros((1, 1, 6, 8), np.float32)
    assert "must hold float32 [1, 1, 6, 8], holds float64" in sentence(save(tmp_path, x.astype(float)), net)
    assert "must hold float32 [1, 1, 6, 8], holds [1, 1, 8, 6]" in sentence(save(tmp_path, x.swapaxes(2, 3)), net)
    assert "not finite" in sentence(save(tmp_path, x + np.float32(np.nan)), net)
    assert "is not a .npy file" in sentence(save(tmp_path, np.array([{}], object)), net)
    file = tmp_path / "x.npy"
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}", bytes(100)):
        file.write_bytes(content)
        sentence(file, net)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 99999999999, 9999999), }".ljust(117) + b"\n"
    file.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header)
    sentence(file, net)
