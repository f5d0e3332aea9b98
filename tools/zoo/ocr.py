"""Text detection and recognition, written here in plain torch after the published architectures."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from .reference import Built, Reference, pixels

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"
CHARACTERS = 97  # printable ASCII, a blank for CTC and a space


def convolve(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class Squeeze(nn.Module):
    """Squeeze-and-excitation with PaddlePaddle's reduction by 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.expand(scale))


class Bottleneck(nn.Module):
    """MobileNetV3's inverted residual (Howard et al., 2019, figure 4)."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, kernel: int, stride: int, squeeze: bool, act: type[nn.Module]
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            convolve(inputs, middle, 1, act=act),
            convolve(middle, middle, kernel, stride, middle, act),
            *([Squeeze(middle)] if squeeze else []),
            convolve(middle, outputs, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


# Kernel, expansion, channels, squeeze, hard-swish, stride: MobileNetV3-Large, table 1 of the paper.
LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


def divisible(channels: float) -> int:
    """To a multiple of 8, losing at most a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class Backbone(nn.Module):
    """MobileNetV3-Large at half width; the features before each reduction, at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, width: float = 0.5) -> None:
        super().__init__()
        channels = divisible(16 * width)
        stages: list[list[nn.Module]] = [[convolve(3, channels, 3, 2, act=nn.Hardswish)]]
        self.channels: list[int] = []
        for kernel, middle, outputs, squeeze, swish, stride in LARGE:
            if stride == 2 and len(stages[0]) > 2:
                self.channels.append(channels)
                stages.append([])
            wide, narrow = divisible(middle * width), divisible(outputs * width)
            act = nn.Hardswish if swish else nn.ReLU
            stages[-1].append(Bottleneck(channels, wide, narrow, kernel, stride, squeeze, act))
            channels = narrow
        last = divisible(960 * width)
        stages[-1].append(convolve(channels, last, 1, act=nn.Hardswish))
        self.channels.append(last)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class TextDetector(nn.Module):
    """Differentiable binarisation (Liao et al., 2020) as PP-OCR's mobile detector has it: a feature pyramid of 96
    channels and a head that, at inference, gives the probability map alone. (1, 3, H, W) to (1, 1, H, W)."""

    def __init__(self, channels: int = 96) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1, bias=False) for c in self.backbone.channels)
        quarter = channels // 4
        self.smooth = nn.ModuleList(nn.Conv2d(channels, quarter, 3, 1, 1, bias=False) for _ in self.lateral)
        self.head = nn.Sequential(
            convolve(channels, quarter, 3, act=nn.ReLU),
            nn.ConvTranspose2d(quarter, quarter, 2, 2),
            nn.BatchNorm2d(quarter),
            nn.ReLU(),
            nn.ConvTranspose2d(quarter, 1, 2, 2),
            nn.Sigmoid(),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        levels = [lateral(f) for lateral, f in zip(self.lateral, self.backbone(image), strict=True)]
        for finer in (2, 1, 0):
            levels[finer] = levels[finer] + F.interpolate(levels[finer + 1], scale_factor=2.0, mode="nearest")
        smooth = [s(level) for s, level in zip(self.smooth, levels, strict=True)]
        scaled = [F.interpolate(s, scale_factor=2.0**i, mode="nearest") for i, s in enumerate(smooth) if i]
        return self.head(torch.cat([*reversed(scaled), smooth[0]], 1))


class Crnn(nn.Module):
    """Convolutions, two bidirectional LSTM layers, CTC logits (Shi, Bai and Yao, 2015, table 1).

    (1, 1, 32, W) to (W/4 + 1, 1, characters).
    """

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        channels = (1, 64, 128, 256, 256, 512, 512)
        pools = {0: (2, 2), 1: (2, 2), 3: (2, 1), 5: (2, 1)}
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
            layers.append(nn.Conv2d(inputs, outputs, 3, 1, 1))
            layers += [nn.BatchNorm2d(outputs)] if i >= 4 else []
            layers.append(nn.ReLU())
            if i in pools:
                layers.append(nn.MaxPool2d(2, pools[i], (0, 0) if i < 2 else (0, 1)))
        self.features = nn.Sequential(*layers, nn.Conv2d(512, 512, 2), nn.BatchNorm2d(512), nn.ReLU())
        self.recurrent = nn.LSTM(512, hidden, num_layers=2, bidirectional=True)
        self.classify = nn.Linear(2 * hidden, CHARACTERS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        columns = self.features(image).squeeze(2).permute(2, 0, 1)
        return self.classify(self.recurrent(columns)[0])


class Mixing(nn.Module):
    """SVTR's block: attention, global or within a window of 7 x 11, and an MLP; normalisation before each."""

    def __init__(self, size: int, heads: int, grid: tuple[int, int], local: bool) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.project = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        outside = None
        if local:
            rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
            r, c = rows.flatten(), columns.flatten()
            outside = ((r[:, None] - r).abs() > 3) | ((c[:, None] - c).abs() > 5)
        self.register_buffer("outside", outside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, count, size = x.shape
        parts = self.qkv(self.before(x)).reshape(batch, count, 3, self.heads, size // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) * (size // self.heads) ** -0.5
        if self.outside is not None:
            scores = scores.masked_fill(self.outside, float("-inf"))
        mixed = scores.softmax(-1) @ value
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, count, size))
        return x + self.mlp(self.after(x))


class Svtr(nn.Module):
    """SVTR-Tiny (Du et al., 2022, table 2): three stages, the height halved between them, CTC logits.

    (1, 3, 32, W) to (1, W/4, characters).
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        sizes, depths, local = (64, 128, 256), (3, 6, 3), 6
        self.embed = nn.Sequential(convolve(3, 32, 3, 2, act=nn.GELU), convolve(32, 64, 3, 2, act=nn.GELU))
        self.position = nn.Parameter(torch.randn(1, 8 * width // 4, 64) * 0.02)
        self.stages, self.merges = nn.ModuleList(), nn.ModuleList()
        self.grids = [(8 >> i, width // 4) for i in range(3)]
        done = 0
        for i, (size, depth) in enumerate(zip(sizes, depths, strict=True)):
            blocks = [Mixing(size, size // 32, self.grids[i], done + d < local) for d in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            done += depth
            if i < 2:
                merge = nn.ModuleList((nn.Conv2d(size, 2 * size, 3, (2, 1), 1), nn.LayerNorm(2 * size)))
                self.merges.append(merge)
        self.combine, self.classify = nn.Linear(256, 192), nn.Linear(192, CHARACTERS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image).flatten(2).transpose(1, 2) + self.position
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i < 2:
                reduce, norm = self.merges[i]
                picture = x.transpose(1, 2).reshape(1, -1, *self.grids[i])
                x = norm(reduce(picture).flatten(2).transpose(1, 2))
        picture = x.transpose(1, 2).reshape(1, -1, *self.grids[2])
        columns = picture.mean(2).transpose(1, 2)
        return self.classify(F.hardswish(self.combine(columns)))


def detector() -> Built:
    return Built(TextDetector(), {"image": pixels(320, 320)}, ["probability"])


def crnn() -> Built:
    return Built(Crnn(), {"image": pixels(32, 128, 1)}, ["logits"])


def svtr() -> Built:
    return Built(Svtr(), {"image": pixels(32, 128)}, ["logits"])


REFERENCES = (
    Reference(
        "dbnet-mobile",
        "OCR",
        "here, after PP-OCR's mobile text detector, 320 x 320",
        OURS,
        detector,
        opset=18,
        fold=False,
    ),
    Reference("crnn", "OCR", "here, after Shi, Bai and Yao (2015), 32 x 128", OURS, crnn, opset=18),
    Reference("svtr-tiny", "OCR", "here, after Du et al. (2022), 32 x 128", OURS, svtr),
)
