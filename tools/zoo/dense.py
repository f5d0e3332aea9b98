"""More of what answers for places in an image: detectors, segmenters, depth, pose, and text in images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .classification import OURS, ConvUnit, plain
from .decoders import VOCABULARY
from .reference import Built, Call, Reference, hf, ids, mask, pixels
from .vision import TRANSFORMERS

__all__ = ["REFERENCES"]

RESIDUAL = {"layer.2.convolution.weight": 0.4}
SMALL_BACKBONE = {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}


def boxes(net: nn.Module, size: int = 256, gains: dict[str, float] | None = None) -> Built:
    def forward(net: nn.Module, image: Any) -> Any:
        result = net(pixel_values=image)
        return result.logits, result.pred_boxes

    inputs = {"pixel_values": pixels(size, size)}
    return Built(Call(net, forward), inputs, ["logits", "pred_boxes"], gains or {})


def conditional_detr() -> Built:
    from transformers import ResNetConfig

    backbone = ResNetConfig(layer_type="basic", out_features=["stage4"], **SMALL_BACKBONE)
    net = hf(
        "ConditionalDetrForObjectDetection",
        use_timm_backbone=False,
        backbone_config=backbone,
        num_labels=91,
        encoder_layers=2,
        decoder_layers=2,
        num_queries=100,
    )
    return boxes(net, gains={"layer.1.convolution.weight": 0.4})


class Bottlenecks(nn.Module):
    """The C2f block of YOLOv8: some residual pairs of convolutions, all their outputs joined."""

    def __init__(self, inputs: int, outputs: int, depth: int, *, shortcut: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.first = ConvUnit(inputs, outputs, activation=nn.SiLU)
        self.parts = nn.ModuleList(
            nn.Sequential(ConvUnit(half, half, 3, activation=nn.SiLU), ConvUnit(half, half, 3, activation=nn.SiLU))
            for _ in range(depth)
        )
        self.last = ConvUnit((2 + depth) * half, outputs, activation=nn.SiLU)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = list(self.first(x).chunk(2, 1))
        for part in self.parts:
            y = part(found[-1])
            found.append(found[-1] + y if self.shortcut else y)
        return self.last(torch.cat(found, 1))


class Yolo(nn.Module):
    """YOLOv8's smallest size: (1, 3, S, S) to boxes (1, 4, places) in pixels and class scores (1, 80, places)."""

    def __init__(self, size: int = 256, bins: int = 16, classes: int = 80) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int = 2) -> nn.Module:
            return ConvUnit(inputs, outputs, 3, stride, activation=nn.SiLU)

        def c2f(inputs: int, outputs: int, depth: int, *, shortcut: bool = False) -> nn.Module:
            return Bottlenecks(inputs, outputs, depth, shortcut=shortcut)

        self.stem = nn.Sequential(conv(3, 16), conv(16, 32), c2f(32, 32, 1, shortcut=True))
        self.stage3 = nn.Sequential(conv(32, 64), c2f(64, 64, 2, shortcut=True))
        self.stage4 = nn.Sequential(conv(64, 128), c2f(128, 128, 2, shortcut=True))
        self.stage5 = nn.Sequential(conv(128, 256), c2f(256, 256, 1, shortcut=True))
        self.before, self.after = ConvUnit(256, 128, activation=nn.SiLU), ConvUnit(512, 256, activation=nn.SiLU)
        self.up4, self.up3 = c2f(384, 128, 1), c2f(192, 64, 1)
        self.down4, self.down5 = conv(64, 64), conv(128, 128)
        self.out4, self.out5 = c2f(192, 128, 1), c2f(384, 256, 1)
        self.boxes = nn.ModuleList(
            nn.Sequential(conv(w, 64, 1), conv(64, 64, 1), nn.Conv2d(64, 4 * bins, 1)) for w in (64, 128, 256)
        )
        self.scores = nn.ModuleList(
            nn.Sequential(conv(w, 80, 1), conv(80, 80, 1), nn.Conv2d(80, classes, 1)) for w in (64, 128, 256)
        )
        centres, strides = [], []
        for stride in (8, 16, 32):
            line = torch.arange(size // stride) + 0.5
            y, x = torch.meshgrid(line, line, indexing="ij")
            centres.append(torch.stack([x.flatten(), y.flatten()]))
            strides.append(torch.full((1, x.numel()), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1).unsqueeze(0))
        self.register_buffer("strides", torch.cat(strides, 1))
        self.register_buffer("bins", torch.arange(float(bins)).view(1, bins, 1, 1))

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        found = [self.before(x)]
        for _ in range(3):
            found.append(F.max_pool2d(found[-1], 5, 1, 2))
        return self.after(torch.cat(found, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        c3 = self.stage3(self.stem(image))
        c4 = self.stage4(c3)
        c5 = self._pool(self.stage5(c4))
        p4 = self.up4(torch.cat([F.interpolate(c5, scale_factor=2.0), c4], 1))
        p3 = self.up3(torch.cat([F.interpolate(p4, scale_factor=2.0), c3], 1))
        n4 = self.out4(torch.cat([self.down4(p3), p4], 1))
        n5 = self.out5(torch.cat([self.down5(n4), c5], 1))
        levels = (p3, n4, n5)
        sides = torch.cat([b(x).flatten(2) for b, x in zip(self.boxes, levels, strict=True)], 2)
        scores = torch.cat([s(x).flatten(2) for s, x in zip(self.scores, levels, strict=True)], 2)
        shares = sides.view(1, 4, 16, -1).transpose(1, 2).softmax(1)
        distance = (shares * self.bins).sum(1)
        low, high = self.centres - distance[:, :2], self.centres + distance[:, 2:]
        return torch.cat([(low + high) / 2, high - low], 1) * self.strides, scores.sigmoid()


def yolo() -> Built:
    return Built(Yolo(), {"images": pixels(256, 256)}, ["boxes", "scores"])


class SsdLite(nn.Module):
    """SSDLite over a chain of separable convolutions (Sandler et al., 2018): three levels, six anchors a place."""

    def __init__(self, classes: int = 91) -> None:
        super().__init__()
        widths = (32, 64, 128, 256, 512, 512)
        stages, inputs = [], 3
        for width in widths:
            pair = [ConvUnit(inputs, width)] if inputs == 3 else [self._separable(inputs, width)]
            stages.append(nn.Sequential(*pair, self._separable(width, width, 2)))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.boxes = nn.ModuleList(self._separable(w, 24, last=True) for w in widths[3:])
        self.scores = nn.ModuleList(self._separable(w, 6 * classes, last=True) for w in widths[3:])
        self.classes = classes

    @staticmethod
    def _separable(inputs: int, outputs: int, stride: int = 1, *, last: bool = False) -> nn.Module:
        deep = ConvUnit(inputs, inputs, 3, stride, inputs, nn.ReLU6)
        wide = nn.Conv2d(inputs, outputs, 1) if last else ConvUnit(inputs, outputs, activation=nn.ReLU6)
        return nn.Sequential(deep, wide)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        offsets = [b(f).permute(0, 2, 3, 1).reshape(1, -1, 4) for b, f in zip(self.boxes, levels[3:], strict=True)]
        scores = [
            s(f).permute(0, 2, 3, 1).reshape(1, -1, self.classes)
            for s, f in zip(self.scores, levels[3:], strict=True)
        ]
        centre, size = torch.cat(offsets, 1).split(2, -1)
        return torch.cat([centre * 0.1, torch.exp(size * 0.2)], -1), torch.cat(scores, 1).softmax(-1)


class UNet(nn.Module):
    """U-Net (Ronneberger et al., 2015) at a quarter of the width: (1, 1, S, S) to two classes."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def pair(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(ConvUnit(inputs, outputs, 3), ConvUnit(outputs, outputs, 3))

        widths = [width << i for i in range(5)]
        self.down = nn.ModuleList(pair(i, o) for i, o in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.join = nn.ModuleList(pair(2 * w, w) for w in widths[-2::-1])
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = []
        for index, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if index else x)
            seen.append(x)
        seen.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([seen.pop(), up(x)], 1))
        return self.last(x)


class PyramidScene(nn.Module):
    """DeepLab's atrous pyramid (Chen et al., 2017) over a small residual chain: (1, 3, S, S) to 21 classes."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvUnit(3, 32, 3, 2), ConvUnit(32, 64, 3, 2), ConvUnit(64, width, 3, 2))
        self.branches = nn.ModuleList([ConvUnit(width, 64)])
        for rate in (6, 12, 18):
            dilated = nn.Conv2d(width, 64, 3, padding=rate, dilation=rate, bias=False)
            self.branches.append(nn.Sequential(dilated, nn.BatchNorm2d(64), nn.ReLU()))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, 64, 1), nn.ReLU())
        self.last = nn.Sequential(ConvUnit(5 * 64, 64), nn.Conv2d(64, 21, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.body(image)
        pooled = F.interpolate(self.pooled(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        joined = torch.cat([*(b(x) for b in self.branches), pooled], 1)
        size = image.shape[-2:]
        return F.interpolate(self.last(joined), size=size, mode="bilinear", align_corners=True)


class Hourglass(nn.Module):
    """One stacked hourglass (Newell et al., 2016) for 17 joints: (1, 3, 256, 192) to heat maps at a quarter."""

    def __init__(self, width: int = 96, depth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 32, 3, 2), ConvUnit(32, width, 3, 2))
        self.skips = nn.ModuleList(ConvUnit(width, width, 3) for _ in range(depth))
        self.down = nn.ModuleList(ConvUnit(width, width, 3) for _ in range(depth))
        self.up = nn.ModuleList(ConvUnit(width, width, 3) for _ in range(depth))
        self.last = nn.Conv2d(width, 17, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        skips = []
        for skip, down in zip(self.skips, self.down, strict=True):
            skips.append(skip(x))
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            x = F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skips.pop()
        return self.last(x)


def grey(net: nn.Module, size: int) -> Built:
    return Built(net, {"image": pixels(size, size, 1)}, ["logits"])


def superpoint() -> Built:
    """The network before the choice of key points, whose number depends on the image."""
    net: Any = hf("SuperPointForKeypointDetection")

    def forward(net: Any, image: Any) -> Any:
        encoded = net.encoder(image, return_dict=True).last_hidden_state
        scores = net.keypoint_decoder._get_pixel_scores(encoded)
        decoder = net.descriptor_decoder
        descriptors = decoder.conv_descriptor_b(decoder.relu(decoder.conv_descriptor_a(encoded)))
        return scores, F.normalize(descriptors, dim=1)

    return Built(Call(net, forward), {"image": pixels(160, 160, 1)}, ["scores", "descriptors"])


def layoutlm() -> Built:
    from .language import LENGTH

    config = {"vocab_size": VOCABULARY, "num_hidden_layers": 4, "num_labels": 7}
    net = hf("LayoutLMForTokenClassification", **config)

    def forward(net: nn.Module, tokens: Any, boxes: Any, attention: Any) -> Any:
        corners = torch.cat([boxes, boxes + 8], -1)
        return net(input_ids=tokens, bbox=corners, attention_mask=attention).logits

    inputs = {
        "input_ids": ids(1, LENGTH, vocabulary=VOCABULARY),
        "corners": ids(1, LENGTH, 2, vocabulary=1000),
        "attention_mask": mask(LENGTH, 5),
    }
    return Built(Call(net, forward), inputs, ["logits"])


def _reference(name: str, domain: str, source: str, build: Any, **more: Any) -> Reference:
    ours = source.startswith("here")
    full = source if ours else f"transformers {source}"
    return Reference(name, domain, full, OURS if ours else TRANSFORMERS, build, **more)


DETECTION, SEGMENTATION, PLACES, OCR = "detection", "segmentation", "depth and pose", "OCR"
REFERENCES = (
    _reference(
        "conditional-detr",
        DETECTION,
        "ConditionalDetrForObjectDetection on ResNet-18, 2 + 2 layers, 100 queries, 256 x 256",
        conditional_detr,
    ),
    _reference("yolov8-nano", DETECTION, "here, after YOLOv8's smallest size, 256 x 256", yolo),
    _reference(
        "ssdlite",
        DETECTION,
        "here, after Sandler et al. (2018), 256 x 256",
        lambda: Built(SsdLite(), {"image": pixels(256, 256)}, ["boxes", "scores"]),
        opset=18,
        wild="the scores are shares of 91 classes",
    ),
    _reference(
        "unet", SEGMENTATION, "here, after Ronneberger et al. (2015), 128 x 128", lambda: grey(UNet(), 128)
    ),
    _reference(
        "deeplab",
        SEGMENTATION,
        "here, after Chen et al. (2017), 128 x 128",
        lambda: plain(PyramidScene(), 128),
    ),
    _reference(
        "superpoint",
        PLACES,
        "SuperPointForKeypointDetection, 160 x 160, before the choice",
        superpoint,
        wild="the scores are shares of 65 places",
    ),
    _reference(
        "hourglass",
        PLACES,
        "here, after Newell et al. (2016), 256 x 192",
        lambda: Built(Hourglass(), {"image": pixels(256, 192)}, ["heatmaps"]),
        opset=18,
    ),
    _reference(
        "layoutlm", OCR, "LayoutLMForTokenClassification, microsoft/layoutlm-base sizes, 4 of 12 layers", layoutlm
    ),
)
