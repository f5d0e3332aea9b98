"""More of what draws images, and of what relates them to text."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from conformance.draws import integers

from .decoders import SPECIAL, VOCABULARY
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


def sd3() -> Built:
    net = diffusers_model(
        "SD3Transformer2DModel",
        sample_size=16,
        num_layers=2,
        attention_head_dim=64,
        num_attention_heads=6,
        joint_attention_dim=512,
        caption_projection_dim=384,
        pooled_projection_dim=256,
        pos_embed_max_size=24,
    )
    inputs = {
        "hidden_states": real(1, 16, 16, 16),
        "encoder_hidden_states": real(1, 77, 512),
        "pooled_projections": real(1, 256),
        "timestep": TIMESTEP,
    }
    return first(net, inputs)


def flux() -> Built:
    net = diffusers_model(
        "FluxTransformer2DModel",
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=64,
        num_attention_heads=8,
        joint_attention_dim=512,
        pooled_projection_dim=256,
        axes_dims_rope=(8, 28, 28),
        guidance_embeds=True,
    )
    inputs = {
        "hidden_states": real(1, 64, 64),
        "encoder_hidden_states": real(1, 32, 512),
        "pooled_projections": real(1, 256),
        "timestep": Feed((1,), integers(0, 1), "float32"),
        "img_ids": Feed((64, 3), integers(0, 7), "float32"),
        "txt_ids": Feed((32, 3), integers(0, 1), "float32"),
        "guidance": Feed((1,), integers(1, 7), "float32"),
    }
    return first(net, inputs)


def pixart() -> Built:
    net = diffusers_model(
        "PixArtTransformer2DModel",
        num_attention_heads=6,
        attention_head_dim=64,
        cross_attention_dim=384,
        num_layers=2,
        sample_size=16,
        caption_channels=512,
        use_additional_conditions=False,
    )
    inputs = {
        "hidden_states": real(1, 4, 16, 16),
        "encoder_hidden_states": real(1, 77, 512),
        "timestep": TIMESTEP,
    }
    return first(net, inputs, added_cond_kwargs={"resolution": None, "aspect_ratio": None})


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


def controlnet() -> Built:
    net = diffusers_model(
        "ControlNetModel",
        block_out_channels=(64, 128, 128, 128),
        layers_per_block=1,
        cross_attention_dim=256,
        attention_head_dim=8,
    )

    def forward(net: nn.Module, sample: Any, step: Any, prompt: Any, image: Any) -> Any:
        down, middle = net(sample, step, prompt, image, return_dict=False)
        return (*down, middle)

    inputs = {
        "sample": real(1, 4, 16, 16),
        "timestep": TIMESTEP,
        "encoder_hidden_states": real(1, 77, 256),
        "condition": pixels(128, 128),
    }
    outputs = [f"down{i}" for i in range(8)] + ["middle"]
    return Built(Call(net, forward), inputs, outputs)


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


def vilt() -> Built:
    """Text and patches in one encoder; the mask of patches is full, as one image fills its batch."""
    net = hf(
        "ViltModel",
        vocab_size=VOCABULARY,
        num_hidden_layers=3,
        image_size=96,
        hidden_size=384,
        num_attention_heads=6,
        intermediate_size=1536,
        max_position_embeddings=40,
    )

    def forward(net: Any, tokens: Any, attention: Any, image: Any) -> Any:
        words = net.embeddings.text_embeddings(input_ids=tokens) + net.embeddings.token_type_embeddings.weight[0]
        patches = net.embeddings.patch_embeddings(image).flatten(2).transpose(1, 2)
        patches = torch.cat([net.embeddings.cls_token, patches], 1) + net.embeddings.position_embeddings
        joined = torch.cat([words, patches + net.embeddings.token_type_embeddings.weight[1]], 1)
        full = torch.cat([attention, torch.ones(1, patches.shape[1], dtype=attention.dtype)], 1)
        bias = (1.0 - full[:, None, None].to(joined.dtype)) * -1e4
        hidden = net.encoder(joined, attention_mask=bias)[0]
        return net.pooler(net.layernorm(hidden))

    inputs = {
        "input_ids": ids(1, 40, vocabulary=VOCABULARY),
        "attention_mask": mask(40, PADDING),
        "pixel_values": pixels(96, 96),
    }
    return Built(Call(net, forward), inputs, ["pooled"])


def blip_caption() -> Built:
    """BLIP's text decoder: a caption so far, attending to the image's patches."""
    net = hf(
        "BlipForConditionalGeneration",
        text_config={**TEXT, **SPECIAL, "encoder_hidden_size": 256, "sep_token_id": 2},
        vision_config=VISION,
    )

    def forward(net: nn.Module, image: Any, tokens: Any, attention: Any) -> Any:
        return net(pixel_values=image, input_ids=tokens, attention_mask=attention).logits

    inputs = {
        "pixel_values": pixels(128, 128),
        "input_ids": ids(1, 16, vocabulary=VOCABULARY, first=3),
        "attention_mask": mask(16, 3),
    }
    return Built(Call(net, forward), inputs, ["logits"])


def owl() -> Built:
    """Detection by description: boxes of patches, and their similarity to each of two texts."""
    text = {**TEXT, "max_position_embeddings": 16}
    net = hf("OwlViTForObjectDetection", text_config=text, vision_config=VISION, projection_dim=256)

    def forward(net: nn.Module, tokens: Any, image: Any, attention: Any) -> Any:
        result = net(input_ids=tokens, pixel_values=image, attention_mask=attention)
        return result.logits, result.pred_boxes

    inputs = {
        "input_ids": ids(2, 16, vocabulary=VOCABULARY, first=3),
        "pixel_values": pixels(128, 128),
        "attention_mask": Feed((2, 16), integers(1, 1), "int64"),
    }
    return Built(Call(net, forward), inputs, ["logits", "pred_boxes"])


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
    _reference("sd3-small", DIFFUSION, "diffusers SD3Transformer2DModel, 2 layers of 384, 16 x 16 latents", sd3),
    _reference("flux-small", DIFFUSION, "diffusers FluxTransformer2DModel, 1 + 2 layers of 512, 64 patches", flux),
    _reference(
        "pixart-small", DIFFUSION, "diffusers PixArtTransformer2DModel, 2 layers of 384, 16 x 16 latents", pixart
    ),
    _reference(
        "vae-decoder",
        DIFFUSION,
        "diffusers AutoencoderKL, Stable Diffusion's decoder at a quarter of the width",
        vae_decoder,
    ),
    _reference(
        "controlnet",
        DIFFUSION,
        "diffusers ControlNetModel at a quarter of the width, 16 x 16 latents",
        controlnet,
        opset=18,
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
    _reference(
        "altclip",
        PAIRS,
        "transformers AltCLIPModel, 2 + 2 layers of 256, 128 x 128",
        lambda: pair("AltCLIPModel", {**TEXT, **SPECIAL, "project_dim": 256}, VISION, projection_dim=256),
        opset=18,
    ),
    _reference(
        "chinese-clip",
        PAIRS,
        "transformers ChineseCLIPModel, 2 + 2 layers of 256, 128 x 128",
        lambda: pair("ChineseCLIPModel", {**TEXT, **SPECIAL}, VISION, projection_dim=256),
    ),
    _reference("vilt", PAIRS, "transformers ViltModel, 3 layers of 384, 96 x 96", vilt),
    _reference(
        "blip-captions",
        PAIRS,
        "transformers BlipForConditionalGeneration, 2 + 2 layers of 256, 128 x 128",
        blip_caption,
    ),
    _reference("owlvit", PAIRS, "transformers OwlViTForObjectDetection, 2 + 2 layers of 256, 128 x 128", owl),
)
