"""More of what draws images, and of what relates them to text."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from conformance.draws import integers

from .decoders import VOCABULARY
from .language import LENGTH, PADDING, TRANSFORMERS
from .reference import Built, Call, Feed, Reference, hf, ids, mask, pixels, real

__all__ = ["REFERENCES"]

OURS = "Apache-2.0"


def diffusers_model(name: str, **config: Any) -> Any:
    import diffusers

    return getattr(diffusers, name)(**config)


TIMESTEP = Feed((1,), integers(0, 999), "int64")


def first(net: nn.Module, inputs: dict[str, Feed], output: str = "noise", **more: Any) -> Built:
    """A denoiser whose inputs have the names of its arguments."""
    names = list(inputs)

    def forward(net: nn.Module, *tensors: Any) -> Any:
        return net(**dict(zip(names, tensors, strict=True)), return_dict=False, **more)[0]

    return Built(Call(net, forward), inputs, [output])


def ddpm() -> Built:
    net = diffusers_model(
        "UNet2DModel",
        sample_size=32,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=32,
    )
    return first(net, {"sample": real(1, 3, 32, 32), "timestep": TIMESTEP})


def dit() -> Built:
    net = diffusers_model(
        "DiTTransformer2DModel",
        num_attention_heads=6,
        attention_head_dim=64,
        num_layers=4,
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=8,
    )
    inputs = {
        "hidden_states": real(1, 4, 16, 16),
        "timestep": TIMESTEP,
        "class_labels": Feed((1,), integers(0, 999), "int64"),
    }
    return first(net, inputs)


def vae_decoder() -> Built:
    net = diffusers_model(
        "AutoencoderKL",
        block_out_channels=(64, 128, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        sample_size=64,
    )

    def forward(net: nn.Module, latents: Any) -> Any:
        return net.decode(latents, return_dict=False)[0]

    return Built(Call(net, forward), {"latents": real(1, 4, 8, 8)}, ["image"])


class Generator(nn.Module):
    """DCGAN's generator (Radford et al., 2016): (1, 100, 1, 1) to (1, 3, 64, 64)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (8 * width, 4 * width, 2 * width, width)
        layers: list[nn.Module] = [nn.ConvTranspose2d(100, widths[0], 4, 1, 0, bias=False)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.body(noise)


class StyleTransfer(nn.Module):
    """Fast neural style (Johnson et al., 2016) at half the width: reflection padding, instance normalisation."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
            padded = nn.ReflectionPad2d(kernel // 2)
            return nn.Sequential(
                padded, nn.Conv2d(inputs, outputs, kernel, stride), nn.InstanceNorm2d(outputs, affine=True)
            )

        self.down = nn.Sequential(
            conv(3, width, 9),
            nn.ReLU(),
            conv(width, 2 * width, 3, 2),
            nn.ReLU(),
            conv(2 * width, 4 * width, 3, 2),
            nn.ReLU(),
        )
        self.residual = nn.ModuleList(
            nn.Sequential(conv(4 * width, 4 * width, 3), nn.ReLU(), conv(4 * width, 4 * width, 3))
            for _ in range(3)
        )
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            conv(4 * width, 2 * width, 3),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            conv(2 * width, width, 3),
            nn.ReLU(),
            nn.ReflectionPad2d(4),
            nn.Conv2d(width, 3, 9),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.down(image)
        for part in self.residual:
            x = x + part(x)
        return self.up(x)


class SuperResolution(nn.Module):
    """ESPCN's way (Shi et al., 2016): convolutions at low resolution, then three times the pixels from channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 64, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(32, 9, 3, padding=1),
            nn.PixelShuffle(3),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.body(image).clamp(-1.0, 1.0)


TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 128,
    "patch_size": 16,
}


def pair(name: str, text: dict[str, Any], vision: dict[str, Any], *, masked: bool = True, **config: Any) -> Built:
    """A model of a text and an image, with the similarity and both embeddings as outputs."""
    net = hf(name, text_config=text, vision_config=vision, **config)
    length = text.get("max_position_embeddings", LENGTH)
    inputs = {"input_ids": ids(1, length, vocabulary=VOCABULARY, first=3), "pixel_values": pixels(128, 128)}
    if masked:
        inputs["attention_mask"] = mask(length, PADDING)

    def forward(net: nn.Module, tokens: Any, image: Any, *attention: Any) -> Any:
        more = {"attention_mask": attention[0]} if attention else {}
        result = net(input_ids=tokens, pixel_values=image, **more)
        return result.logits_per_image, result.image_embeds, result.text_embeds

    return Built(Call(net, forward), inputs, ["logits_per_image", "image_embeds", "text_embeds"])


def _reference(name: str, domain: str, source: str, build: Any, **more: Any) -> Reference:
    ours = source.startswith("here")
    return Reference(name, domain, source, OURS if ours else TRANSFORMERS, build, **more)


DIFFUSION, PAIRS, IMAGES = "diffusion", "image-text", "image generation"
REFERENCES = (
    _reference("ddpm-cifar10", DIFFUSION, "diffusers UNet2DModel, google/ddpm-cifar10-32 at half the width", ddpm),
    _reference(
        "dit-small",
        DIFFUSION,
        "diffusers DiTTransformer2DModel, DiT-S/2 sizes, 4 of 12 layers, 16 x 16 latents",
        dit,
    ),
    _reference(
        "vae-decoder",
        DIFFUSION,
        "diffusers AutoencoderKL, Stable Diffusion's decoder at a quarter of the width",
        vae_decoder,
    ),
    _reference(
        "dcgan",
        IMAGES,
        "here, after Radford et al. (2016)",
        lambda: Built(Generator(), {"noise": real(1, 100, 1, 1)}, ["image"]),
        fold=False,
    ),
    _reference(
        "fast-style",
        IMAGES,
        "here, after Johnson et al. (2016), half the width, 96 x 96",
        lambda: Built(StyleTransfer(), {"image": pixels(96, 96)}, ["styled"]),
        opset=18,
    ),
    _reference(
        "espcn",
        IMAGES,
        "here, after Shi et al. (2016), three times 72 x 72",
        lambda: Built(SuperResolution(), {"luminance": pixels(72, 72, 1)}, ["sharp"]),
    ),
    _reference(
        "siglip",
        PAIRS,
        "transformers SiglipModel, 2 + 2 layers of 256, 128 x 128",
        lambda: pair("SiglipModel", {**TEXT, "max_position_embeddings": 64}, VISION, masked=False),
    ),
)
