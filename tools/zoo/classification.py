"""More image classifiers: one short entry an architecture, from a configuration or written down here."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .reference import Built, Call, Reference, hf, pixels
from .vision import TRANSFORMERS, classifier

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"
CLASSES = {"num_labels": 1000}
RESIDUAL = {"layer.2.convolution.weight": 0.4}


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation and an activation, padded so that only the stride changes the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        parts: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*parts, *([activation()] if activation else []))


def head(features: int, classes: int = 1000) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


class DenseLayer(nn.Module):
    """Of DenseNet (Huang et al., 2017): its output is joined to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.branch(x)], 1)


def densenet121() -> nn.Module:
    layers: list[nn.Module] = [ConvUnit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for depth in (6, 12, 24, 16):
        for _ in range(depth):
            layers.append(DenseLayer(width, 32))
            width += 32
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if depth != 16:
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, head(width))


class ShuffleUnit(nn.Module):
    """Of ShuffleNet v2 (Ma et al., 2018): half of the channels pass, the other half are convolved, then shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        taken = inputs if stride == 2 else half
        self.right = nn.Sequential(
            ConvUnit(taken, half), ConvUnit(half, half, 3, stride, half, None), ConvUnit(half, half)
        )
        self.left = nn.Sequential(ConvUnit(inputs, inputs, 3, 2, inputs, None), ConvUnit(inputs, half))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = (self.left(x), x) if self.stride == 2 else x.chunk(2, 1)
        joined = torch.cat([left, self.right(right)], 1)
        return F.channel_shuffle(joined, 2)


def shufflenet_v2() -> nn.Module:
    layers: list[nn.Module] = [ConvUnit(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    width = 24
    for outputs, depth in ((116, 4), (232, 8), (464, 4)):
        for index in range(depth):
            layers.append(ShuffleUnit(width, outputs, 1 if index else 2))
            width = outputs
    return nn.Sequential(*layers, ConvUnit(width, 1024), head(1024))


class Fire(nn.Module):
    """Of SqueezeNet (Iandola et al., 2016): squeeze to few channels, expand by two convolutions side by side."""

    def __init__(self, inputs: int, few: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, few, 1)
        self.one = nn.Conv2d(few, each, 1)
        self.three = nn.Conv2d(few, each, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


def squeezenet() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64)]
    layers += [pool(), Fire(128, 32, 128), Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192)]
    layers += [Fire(384, 64, 256), Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Inception(nn.Module):
    """Of GoogLeNet (Szegedy et al., 2015): four branches side by side."""

    def __init__(self, inputs: int, *widths: int) -> None:
        super().__init__()
        one, before3, three, before5, five, pooled = widths
        self.branches = nn.ModuleList(
            [
                ConvUnit(inputs, one),
                nn.Sequential(ConvUnit(inputs, before3), ConvUnit(before3, three, 3)),
                nn.Sequential(ConvUnit(inputs, before5), ConvUnit(before5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvUnit(inputs, pooled)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def googlenet() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers: list[nn.Module] = [ConvUnit(3, 64, 7, 2), pool(), nn.LocalResponseNorm(5)]
    layers += [ConvUnit(64, 64), ConvUnit(64, 192, 3), nn.LocalResponseNorm(5), pool()]
    layers += [Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), pool()]
    layers += [Inception(480, 192, 96, 208, 16, 48, 64), Inception(512, 160, 112, 224, 24, 64, 64)]
    layers += [Inception(512, 112, 144, 288, 32, 64, 64), Inception(528, 256, 160, 320, 32, 128, 128), pool()]
    layers += [Inception(832, 384, 192, 384, 48, 128, 128)]
    return nn.Sequential(*layers, head(1024))


class Bottleneck(nn.Module):
    """A residual unit of three convolutions, the middle one grouped, with squeeze and excitation where asked."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, groups: int, *, excite: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvUnit(inputs, middle),
            ConvUnit(middle, middle, 3, stride, groups),
            ConvUnit(middle, outputs, activation=None),
        )
        self.gate = Excite(outputs) if excite else nn.Identity()
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvUnit(inputs, outputs, 1, stride, activation=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.gate(self.body(x)) * 0.4 + self.shortcut(x))


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al., 2018)."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // reduction, 1), nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


def residual(groups: int, base: int, *, excite: bool) -> nn.Module:
    """ResNeXt-50 or SE-ResNet-50, two units a stage."""
    layers: list[nn.Module] = [ConvUnit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage in range(4):
        for index in range(2):
            stride = 2 if stage and not index else 1
            outputs = 256 << stage
            layers.append(Bottleneck(width, base << stage, outputs, stride, groups, excite=excite))
            width = outputs
    return nn.Sequential(*layers, head(width))


class Mixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al., 2021): (batch, 3, 224, 224) to (batch, 1000)."""

    def __init__(self, width: int = 256, patches: int = 196, depth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 16, 16)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.tokens = nn.ModuleList(self._mlp(patches, 128) for _ in range(depth))
        self.channels = nn.ModuleList(self._mlp(width, 1024) for _ in range(depth))
        self.last = nn.Linear(width, 1000)

    @staticmethod
    def _mlp(width: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image).flatten(2).transpose(1, 2)
        for index, (tokens, channels) in enumerate(zip(self.tokens, self.channels, strict=True)):
            x = x + tokens(self.norms[2 * index](x).transpose(1, 2)).transpose(1, 2)
            x = x + channels(self.norms[2 * index + 1](x))
        return self.last(self.norms[-1](x).mean(1))


class RepUnit(nn.Module):
    """Of MobileOne and RepVGG as trained: branches of 3 x 3, 1 x 1 and identity, each normalised, added."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.three = ConvUnit(inputs, outputs, 3, stride, activation=None)
        self.one = ConvUnit(inputs, outputs, 1, stride, activation=None)
        self.same = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.three(x) + self.one(x)
        return F.relu(total if self.same is None else total + self.same(x))


def repvgg() -> nn.Module:
    layers: list[nn.Module] = [RepUnit(3, 48, 2)]
    width = 48
    for outputs, depth in ((48, 2), (96, 4), (192, 4), (1280, 1)):
        for index in range(depth):
            layers.append(RepUnit(width, outputs, 1 if index else 2))
            width = outputs
    return nn.Sequential(*layers, head(width))


class Residual3d(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
            nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        same = inputs == outputs and stride == 1
        shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))
        self.shortcut = nn.Identity() if same else shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) * 0.4 + self.shortcut(x))


def video_resnet() -> nn.Module:
    """R3D-18 (Tran et al., 2018), one unit a stage."""
    layers: list[nn.Module] = [nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(64)]
    layers += [nn.ReLU(), Residual3d(64, 64, 1), Residual3d(64, 128, 2), Residual3d(128, 256, 2)]
    layers += [Residual3d(256, 512, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(512, 400)]
    return nn.Sequential(*layers)


class WindowAttention(nn.Module):
    """Attention within windows of a map of tokens, shifted where asked, with relative positions (Liu et al., 2021)."""

    def __init__(self, width: int, heads: int, window: int, size: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.size, self.shift = heads, window, size, shift
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.positions = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offset = (place[:, :, None] - place[:, None]) + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1])
        self.register_buffer("blocked", self._mask(shift))

    def _mask(self, shift: int) -> torch.Tensor:
        regions = torch.zeros(self.size, self.size)
        if shift:
            cuts = (slice(0, -self.window), slice(-self.window, -shift), slice(-shift, None))
            for number, (rows, columns) in enumerate((r, c) for r in cuts for c in cuts):
                regions[rows, columns] = number
        parts = self._windows(regions[None, :, :, None]).squeeze(-1)
        return (parts[:, None] != parts[:, :, None]) * -100.0

    def _windows(self, x: torch.Tensor) -> torch.Tensor:
        count, w = self.size // self.window, self.window
        return x.view(1, count, w, count, w, -1).permute(0, 1, 3, 2, 4, 5).reshape(count * count, w * w, -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, size, _, width = x.shape
        moved = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        parts = self._windows(moved)
        shape = (parts.shape[0], self.window**2, 3, self.heads, width // self.heads)
        query, key, value = self.qkv(parts).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        scores = scores + self.positions[self.index].permute(2, 0, 1)
        if self.shift:
            scores = scores + self.blocked.unsqueeze(1)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(parts.shape)
        count, w = size // self.window, self.window
        whole = self.out(mixed).view(1, count, count, w, w, width).permute(0, 1, 3, 2, 4, 5)
        whole = whole.reshape(1, size, size, width)
        return torch.roll(whole, (self.shift, self.shift), (1, 2)) if self.shift else whole


class Swin(nn.Module):
    """Swin Transformer (Liu et al., 2021) at the tiny size, one pair of blocks a stage: (1, 3, 224, 224) to classes."""

    def __init__(self, width: int = 96, window: int = 7) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        stages = []
        size = 56
        for heads in (3, 6, 12, 24):
            blocks = nn.ModuleList()
            for shift in (0, window // 2 if size > window else 0):
                attention = WindowAttention(width, heads, window, size, shift)
                mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
                blocks.append(nn.ModuleList([nn.LayerNorm(width), attention, nn.LayerNorm(width), mlp]))
            last = heads == 24
            merge = nn.ModuleList([] if last else [nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width)])
            stages.append(nn.ModuleList([blocks, merge]))
            if not last:
                width, size = 2 * width, size // 2
        self.stages = nn.ModuleList(stages)
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image).permute(0, 2, 3, 1)
        for blocks, merge in self.stages:
            for before, attention, between, mlp in blocks:
                x = x + attention(before(x))
                x = x + mlp(between(x))
            if len(merge):
                quarters = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
                x = merge[1](merge[0](torch.cat(quarters, -1)))
        return self.last(self.norm(x).mean((1, 2)))


def plain(net: nn.Module, size: int = 224, gains: dict[str, float] | None = None) -> Built:
    return Built(net, {"image": pixels(size, size)}, ["logits"], gains or {})


def video() -> Built:
    from .reference import real

    return Built(video_resnet(), {"clip": real(1, 3, 8, 56, 56)}, ["logits"])


def pp_lcnet() -> Built:
    def forward(net: nn.Module, image: Any) -> Any:
        return net(pixel_values=image).last_hidden_state

    net = hf("PPLCNetForImageClassification", **CLASSES)
    return Built(Call(net, forward), {"pixel_values": pixels(224, 224)}, ["logits"])


def _hf(name: str, size: int = 224, gains: dict[str, float] | None = None, **config: Any) -> Built:
    return classifier(hf(f"{name}ForImageClassification", **CLASSES, **config), gains, size)


def _reference(name: str, source: str, build: Any, **more: Any) -> Reference:
    ours = source.startswith("here")
    return Reference(
        name,
        "image classification",
        source if ours else f"transformers {source}",
        OURS if ours else TRANSFORMERS,
        build,
        **more,
    )


REFERENCES = (
    _reference(
        "resnet18",
        "ResNetForImageClassification, microsoft/resnet-18 sizes",
        lambda: _hf(
            "ResNet",
            gains={"layer.1.convolution.weight": 0.4},
            layer_type="basic",
            depths=[2, 2, 2, 2],
            hidden_sizes=[64, 128, 256, 512],
        ),
        opset=18,
    ),
    _reference(
        "regnet-y-400mf",
        "RegNetForImageClassification, RegNetY-400MF sizes",
        lambda: _hf(
            "RegNet",
            gains={"layer.3.convolution.weight": 0.4},
            hidden_sizes=[48, 104, 208, 440],
            depths=[1, 3, 6, 6],
            groups_width=8,
            layer_type="y",
        ),
    ),
    _reference(
        "convnextv2-atto",
        "ConvNextV2ForImageClassification, facebook/convnextv2-atto sizes",
        lambda: _hf("ConvNextV2", hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2]),
    ),
    _reference(
        "efficientnet-b0",
        "EfficientNetForImageClassification, google/efficientnet-b0 sizes",
        lambda: _hf("EfficientNet", width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280),
        opset=18,
    ),
    _reference(
        "mobilenet-v1",
        "MobileNetV1ForImageClassification, google/mobilenet_v1_1.0_224 sizes",
        lambda: _hf("MobileNetV1"),
    ),
    _reference(
        "mobilevit-xx-small",
        "MobileViTForImageClassification, apple/mobilevit-xx-small sizes, 256 x 256",
        lambda: _hf(
            "MobileViT",
            256,
            hidden_sizes=[64, 80, 96],
            neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
            expand_ratio=2.0,
        ),
    ),
    _reference(
        "mobilevitv2-0.5",
        "MobileViTV2ForImageClassification, apple/mobilevitv2 at half the width, 256 x 256",
        lambda: _hf("MobileViTV2", 256, width_multiplier=0.5),
        opset=18,
    ),
    _reference(
        "levit-128s",
        "LevitForImageClassification, facebook/levit-128S sizes",
        lambda: _hf(
            "Levit",
            hidden_sizes=[128, 256, 384],
            num_attention_heads=[4, 6, 8],
            depths=[2, 3, 4],
            key_dim=[16] * 3,
        ),
    ),
    _reference(
        "cvt-13",
        "CvtForImageClassification, microsoft/cvt-13 sizes, 3 blocks in the last stage",
        lambda: _hf("Cvt", depth=[1, 2, 3]),
    ),
    _reference(
        "poolformer-s12",
        "PoolFormerForImageClassification, sail/poolformer_s12 sizes",
        lambda: _hf("PoolFormer"),
    ),
    _reference(
        "bit-50",
        "BitForImageClassification, google/bit-50 sizes, 2 units a stage",
        lambda: _hf("Bit", depths=[2, 2, 2, 2]),
        opset=18,
    ),
    _reference(
        "focalnet-tiny",
        "FocalNetForImageClassification, microsoft/focalnet-tiny sizes, 2 blocks a stage",
        lambda: _hf("FocalNet", depths=[2, 2, 2, 2]),
    ),
    _reference(
        "dinov2-small",
        "Dinov2ForImageClassification, facebook/dinov2-small sizes, 4 of 12 layers, 224 x 224",
        lambda: _hf(
            "Dinov2", hidden_size=384, num_attention_heads=6, num_hidden_layers=4, image_size=224, patch_size=14
        ),
    ),
    _reference(
        "deit-tiny",
        "DeiTForImageClassification, facebook/deit-tiny-distilled-patch16-224 sizes",
        lambda: _hf("DeiT", hidden_size=192, num_attention_heads=3, intermediate_size=768),
    ),
    _reference(
        "beit-base",
        "BeitForImageClassification, microsoft/beit-base-patch16-224 sizes, 2 of 12 layers",
        lambda: _hf(
            "Beit",
            attn_implementation="eager",
            num_hidden_layers=2,
            use_relative_position_bias=True,
            use_auxiliary_head=False,
        ),
    ),
    _reference("pvt-tiny", "PvtForImageClassification, Zetatech/pvt-tiny-224 sizes", lambda: _hf("Pvt")),
    _reference("pvt-v2-b0", "PvtV2ForImageClassification, OpenGVLab/pvt_v2_b0 sizes", lambda: _hf("PvtV2")),
    _reference(
        "swiftformer-xs",
        "SwiftFormerForImageClassification, MBZUAI/swiftformer-xs sizes",
        lambda: _hf("SwiftFormer"),
        opset=18,
    ),
    _reference(
        "hiera-tiny",
        "HieraForImageClassification, facebook/hiera-tiny-224-hf sizes",
        lambda: _hf("Hiera", depths=[1, 2, 7, 2]),
    ),
    _reference(
        "swinv2-tiny",
        "Swinv2ForImageClassification, microsoft/swinv2-tiny-patch4-window8-256 sizes, 2 blocks a stage",
        lambda: _hf("Swinv2", 256, image_size=256, window_size=8, depths=[2, 2, 2, 2]),
    ),
    _reference("pp-lcnet", "PPLCNetForImageClassification, PaddlePaddle's PP-LCNet x1.0 sizes", pp_lcnet),
    _reference("hgnetv2", "HGNetV2ForImageClassification, PaddlePaddle's HGNetV2 sizes", lambda: _hf("HGNetV2")),
    _reference(
        "vit-msn-small",
        "ViTMSNForImageClassification, facebook/vit-msn-small sizes, 2 of 12 layers",
        lambda: _hf("ViTMSN", hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_hidden_layers=2),
    ),
    _reference("swin-tiny", "here, after Liu et al. (2021), 2 blocks a stage", lambda: plain(Swin())),
    _reference(
        "densenet121", "here, after Huang et al. (2017)", lambda: plain(densenet121()), opset=18, fold=False
    ),
    _reference("shufflenet-v2", "here, after Ma et al. (2018)", lambda: plain(shufflenet_v2())),
    _reference("squeezenet", "here, after Iandola et al. (2016)", lambda: plain(squeezenet()), opset=18),
    _reference("googlenet", "here, after Szegedy et al. (2015)", lambda: plain(googlenet())),
    _reference(
        "resnext50",
        "here, after Xie et al. (2017), 2 units a stage",
        lambda: plain(residual(32, 128, excite=False)),
        opset=18,
    ),
    _reference(
        "se-resnet50", "here, after Hu et al. (2018), 2 units a stage", lambda: plain(residual(1, 64, excite=True))
    ),
    _reference("mlp-mixer", "here, after Tolstikhin et al. (2021), 4 layers", lambda: plain(Mixer())),
    _reference(
        "repvgg", "here, after Ding et al. (2021), as trained, branches apart", lambda: plain(repvgg()), fold=False
    ),
    _reference("r3d-18", "here, after Tran et al. (2018), one unit a stage, 8 frames of 56 x 56", video, opset=18),
)
