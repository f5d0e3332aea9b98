"""Decoding images: tiny files whose pixels are known because they were made from them.

The lossless formats have one right answer. A JPEG file has many: ISO/IEC 10918-2 leaves the inverse transform a level
or two. So the JPEG files here are of flat blocks of 8 by 8, in which nothing but the constant coefficient is set,
quantised by 1: the inverse transform of such a block is exact in every implementation, and the levels are chosen so
that the conversion of the colours is nowhere within 0.06 of a rounding tie.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b85decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.rules import EXACT
from conformance.spec import Operator, Sample, TensorSpec, tensor

from .samples import literal

__all__ = ["OPERATORS", "Pixels"]

BYTES = ("uint8",)

# What no short writer makes: files of the pixels that `ramp` gives, and of flat blocks (see `jpegs`).
_COMPRESSED_PNG = (
    "iBL{Q4GJ0x0000DNk~Le000090000G2m$~A081*u6aWAK8c9S!RCwBBWME)tkYT`zSOgewf>F7_AqN1D$pRIX%3qQI0000<MNUMnLSTX"
)
_LOSSLESS_WEBP = (
    "Qb|TeRsaA1S4BclR!}%hN&o-=F9d)90CzwZU~&&(Zv^@46$FvCZ45V4aC#zb+Ze8d(R=#*lMPT5HjlIiz~wfd{Qy)$wnEL^-<M$yDa4RMEHO"
    "s(Kf1V+KL7"
)
_LOSSLESS_JP2 = (
    "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000030000500RdH0000001sntY;pkr000005C8xG!D?_aWB*"
    "V8Q2;Lh000001poj50{{R300000000001poj50{{R3000000009A0RaaA0S5sA|55-900001000C800IA800cll|6~9q00BdCWnpw>WFTUBA"
    "Wv{*Zc0!^M<8}(a&u{KZXhx)H7+#&kN^q*00000NdN)=lh3q72uOtDZ&A)zJ5N<|ng;Teq|dZO1+DRSMj*)y%S^qxv1f+PH_x;{4)v8d?@S`"
    "zUIZ4hWS&g6|Je"
)
_GREY_JPEG = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV009930RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40Ra"
    "I40sp`N3kU!Z02l!Q5di<h02TlN0RaF200000000000000B3JL$j02B}b00000000000000000000|Jncu0RaF2KL9`T{2*P5>7Oyf|Je"
)
_COLOUR_JPEG = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV009930RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40Ra"
    "I40sq?oLjeH+0RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RjKO01*fP2mlxZ0TBQK5"
    "di}c0sq7R6#xMN000000000000000000RH|HJ?k5CH%H0000000000000000095Q02ToO0RaF20000000000000072?+nh02C1c000000000"
    "00000000000|Jncy0|5X65d#qbKLCf!1M?u3>VOB^ps@eh"
)
_HALVED_JPEG = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV009930RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40Ra"
    "I40sq?oLjeH+0RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RaI40RjKO01*fP2ml}h0U-ba5"
    "di}c0sq7R6#xMN00000000000000000007|HJ?k5CH%H0000000000000000095Q02ToO0RaF20000000000000002nqkh02C1c000000000"
    "00000000000|Jncy0|5X65d#qbKLDSC9|6A)|Je"
)


@dataclass(frozen=True, slots=True)
class Pixels:
    """The model whose result is this image, whatever it is given: the expectation of a case."""

    shape: tuple[int, ...]
    data: bytes

    def __call__(self, dtype: str, opset: int) -> Any:
        from onnx import TensorProto, helper

        value = helper.make_tensor("pixels", TensorProto.UINT8, self.shape, self.data, raw=True)
        graph = helper.make_graph(
            [helper.make_node("Constant", [], ["image"], value=value)],
            "expected",
            [helper.make_tensor_value_info("encoded_stream", TensorProto.UINT8, ["n"])],
            [helper.make_tensor_value_info("image", TensorProto.UINT8, self.shape)],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Pixels of every level, (height, width, channels) uint8."""
    count = height * width * channels
    return np.array([(37 * i + 11) % 256 for i in range(count)], np.uint8).reshape(height, width, channels)


def png(rows: Sequence[bytes], width: int, depth: int, colour: int, palette: bytes = b"") -> bytes:
    """ISO/IEC 15948: rows of packed samples, each filtered in another of the five ways; not compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    step = max(1, depth * {0: 1, 2: 3, 3: 1}[colour] // 8)
    filtered, above = b"", bytes(len(rows[0]))
    for turn, row in enumerate(rows):
        kind = (1, 4, 2, 3, 0)[turn % 5]
        filtered += bytes([kind]) + _filtered(kind, row, above, step)
        above = row
    size = len(filtered)
    stored = b"\x78\x01\x01" + struct.pack("<HH", size, size ^ 0xFFFF) + filtered
    stored += struct.pack(">I", zlib.adler32(filtered))
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    colours = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + chunk(b"IDAT", stored) + chunk(b"IEND", b"")


def _filtered(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    left = bytes(step) + row[:-step] if step <= len(row) else bytes(len(row))
    corner = bytes(step) + above[:-step]
    guess = [
        (0, a, b, (a + b) // 2, min((a, b, c), key=lambda v, p=a + b - c: abs(p - v)))[kind]  # type: ignore[misc]
        for a, b, c in zip(left, above, corner, strict=False)
    ]
    return bytes((x - g) % 256 for x, g in zip(row, guess, strict=True))


def bmp(image: np.ndarray, *, downwards: bool = False, palette: bytes = b"") -> bytes:
    """Rows of whole words, the last one first unless ``downwards``; blue, green, red, or indices."""
    height, width, channels = image.shape
    rows = [row[:, ::-1].tobytes() for row in (image if downwards else image[::-1])]
    data = b"".join(row + bytes(-len(row) % 4) for row in rows)
    offset = 54 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII",
        40,
        width,
        -height if downwards else height,
        1,
        8 * channels,
        0,
        len(data),
        2835,
        2835,
        len(palette) // 4,
        0,
    )
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def tiff(image: np.ndarray, order: str) -> bytes:
    """TIFF 6.0, one strip, not compressed; ``order`` is < or >."""
    height, width, channels = image.shape
    data = image.tobytes()
    at = 8 + len(data) + len(data) % 2
    depth = (258, 3, 3, at) if channels == 3 else (258, 3, 1, 8)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        depth,
        (259, 3, 1, 1),
        (262, 3, 1, 2 if channels == 3 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    directory = at + 6
    text = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, directory) + data
    text += bytes(len(data) % 2) + struct.pack(f"{order}HHH", 8, 8, 8) + struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        # A short number stands in the first half of its field.
        field = (
            struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
        )
        text += struct.pack(f"{order}HHI", tag, kind, count) + field
    return text + bytes(4)


def netpbm(kind: int, image: np.ndarray) -> bytes:
    """P1 to P6: bits (1 is black), grey or colour, in text or (from P4 on) in bytes."""
    height, width, _ = image.shape
    header = f"P{kind}\n# a comment\n{width} {height}\n" + ("" if kind in (1, 4) else "255\n")
    samples = (image[..., 0] == 0).astype(np.uint8) if kind in (1, 4) else image
    if kind <= 3:
        return (
            header + "\n".join(" ".join(map(str, row)) for row in samples.reshape(height, -1).tolist()) + "\n"
        ).encode()
    return header.encode() + (np.packbits(samples, axis=1) if kind == 4 else samples).tobytes()


def _sample(name: str, data: bytes, image: np.ndarray, pixel_format: str = "RGB") -> Sample:
    """``image``: the colours as red, green, blue, or one channel of grey."""
    if image.shape[-1] == 1 and pixel_format != "Grayscale":
        image = image.repeat(3, -1)
    shown = image[..., ::-1] if pixel_format == "BGR" else image
    attributes = {} if pixel_format == "RGB" else {"pixel_format": pixel_format}
    expected = Pixels(image.shape, np.ascontiguousarray(shown).tobytes())
    return Sample(name, (literal(*data),), attributes, dtypes=BYTES, reference=expected)


def _blocks(levels: Any, height: int = 8, width: int = 8) -> np.ndarray:
    """Every pixel of ``levels`` (rows, columns, channels) as a flat block."""
    return np.array(levels, np.uint8).repeat(height, 0).repeat(width, 1)


def lossless() -> Iterator[Sample]:
    colour, grey = ramp(3, 5), ramp(6, 5, 1)
    rows = [row.tobytes() for row in ramp(6, 5)]
    yield _sample("png", png(rows, 5, 8, 2), ramp(6, 5))
    yield _sample("png-bgr", png(rows, 5, 8, 2), ramp(6, 5), "BGR")
    wide = np.zeros((16, 9, 3), np.uint8)
    wide[..., 0], wide[..., 1], wide[..., 2] = np.arange(16)[:, None] * 16, np.arange(9) * 28, 7
    yield _sample("png-compressed", b85decode(_COMPRESSED_PNG), wide)
    lines = [row.tobytes() for row in grey]
    yield _sample("png-grey", png(lines, 5, 8, 0), grey)
    yield _sample("png-grayscale", png(lines, 5, 8, 0), grey, "Grayscale")
    bits = np.unpackbits(ramp(4, 2, 1)[..., 0], axis=1)[:, :11, None] * np.uint8(255)
    packed = [np.packbits(row[:, 0] != 0).tobytes() for row in bits]
    yield _sample("png-bits", png(packed, 11, 1, 0), bits)
    palette = ramp(1, 16)[0]
    indices = ramp(5, 7, 1) % 16
    yield _sample(
        "png-palette", png([r.tobytes() for r in indices], 7, 8, 3, palette.tobytes()), palette[indices[..., 0]]
    )
    yield _sample("png-one-pixel", png([b"\x01\x80\xff"], 1, 8, 2), np.array([[[1, 128, 255]]], np.uint8))
    yield _sample("bmp", bmp(colour), colour)
    yield _sample("bmp-bgr", bmp(colour), colour, "BGR")
    yield _sample("bmp-downwards", bmp(colour, downwards=True), colour)
    entries = b"".join(bytes((*c[::-1], 0)) for c in palette.tolist())
    yield _sample("bmp-palette", bmp(indices, palette=entries), palette[indices[..., 0]])
    yield _sample("tiff-little-endian", tiff(colour, "<"), colour)
    yield _sample("tiff-big-endian", tiff(colour, ">"), colour)
    yield _sample("tiff-grayscale", tiff(grey, "<"), grey, "Grayscale")
    for kind, image in ((1, bits), (2, grey), (3, colour), (4, bits), (5, grey), (6, colour)):
        yield _sample(f"netpbm-p{kind}", netpbm(kind, image), image)
    yield _sample("netpbm-grayscale", netpbm(5, grey), grey, "Grayscale")
    yield _sample("webp-lossless", b85decode(_LOSSLESS_WEBP), colour)
    yield _sample("jpeg-2000-lossless", b85decode(_LOSSLESS_JP2), colour)


def jpegs() -> Iterator[Sample]:
    grey = _blocks([[[0], [255], [130]], [[77], [1], [200]]])
    yield _sample("jpeg-grey", b85decode(_GREY_JPEG), grey)
    yield _sample("jpeg-grayscale", b85decode(_GREY_JPEG), grey, "Grayscale")
    # Y, Cb, Cr of (100, 140, 120), (150, 99, 160), (90, 128, 171), as ISO/IEC 10918-5 converts them.
    colours = _blocks([[[89, 102, 121], [195, 137, 99], [150, 59, 90]]])
    yield _sample("jpeg-colour", b85decode(_COLOUR_JPEG), colours)
    yield _sample("jpeg-colour-bgr", b85decode(_COLOUR_JPEG), colours, "BGR")
    # Y 120, Cb 128, Cr 100 and then 163, at half the width: at the border a quarter of one and three of the other.
    halved = _blocks([[[81, 140, 120]] * 15 + [[103, 129, 120], [147, 106, 120]] + [[169, 95, 120]] * 15], 8, 1)
    yield _sample("jpeg-half-width-chroma", b85decode(_HALVED_JPEG), halved)


def _samples() -> Iterator[Sample]:
    yield from lossless()
    yield from jpegs()
    data = literal(*bmp(ramp(3, 5)))
    first = _sample("", bmp(ramp(3, 5)), ramp(3, 5))
    for name, inputs, attributes, why in (
        ("bad-format", first.inputs, {"pixel_format": "CMYK"}, "no such pixel format"),
        ("two-streams", (data, data), {}, "one stream at a time"),
        ("wrong-type", (tensor(70, dtype="int8"),), {}, "a stream is of bytes"),
    ):
        given: tuple[TensorSpec | None, ...] = inputs
        yield Sample(name, given, attributes, dtypes=BYTES, refuse=why)


OPERATORS = (Operator("ImageDecoder", None, EXACT, _samples, BYTES),)
