"""Latent diffusion: the denoiser, and the decoder from latents to pixels."""

from __future__ import annotations

from typing import Any

from torch import nn

from conformance.draws import integers

from .reference import Built, Call, Feed, Reference, real

__all__ = ["REFERENCES"]

DIFFUSERS = "Apache-2.0"
TOKENS = 77  # of the prompt


def unet() -> Built:
    """Stable Diffusion 1's blocks at a third of their width, one layer to a block, on 32 x 32 latents (256 x 256)."""
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(128, 256, 384, 384),
        layers_per_block=1,
        cross_attention_dim=768,
    )

    def forward(net: nn.Module, sample: Any, step: Any, prompt: Any) -> Any:
        return net(sample, step, prompt, return_dict=False)[0]

    inputs = {
        "sample": real(1, 4, 32, 32),
        "timestep": Feed((1,), integers(0, 999), "int64"),
        "encoder_hidden_states": real(1, TOKENS, 768),
    }
    return Built(Call(net, forward), inputs, ["noise"])


def decoder() -> Built:
    from diffusers import AutoencoderTiny

    def forward(net: nn.Module, latents: Any) -> Any:
        return net.decode(latents, return_dict=False)[0]

    return Built(Call(AutoencoderTiny(), forward), {"latents": real(1, 4, 16, 16)}, ["image"])


REFERENCES = (
    Reference(
        "sd-unet-small",
        "diffusion",
        "diffusers UNet2DConditionModel, Stable Diffusion 1's blocks at about a third of the width, 32 x 32 latents",
        DIFFUSERS,
        unet,
    ),
    Reference(
        "taesd-decoder",
        "diffusion",
        "diffusers AutoencoderTiny, madebyollin/taesd sizes, decoder",
        DIFFUSERS,
        decoder,
    ),
)
