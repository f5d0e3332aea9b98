"""Image classification, detection and segmentation."""

from __future__ import annotations

from typing import Any

from torch import nn

from .reference import Built, Call, Reference, pixels

__all__ = ["REFERENCES"]

TRANSFORMERS = "Apache-2.0"


def logits(net: nn.Module, image: Any) -> Any:
    return net(pixel_values=image).logits


def classifier(net: nn.Module, gains: dict[str, float] | None = None, size: int = 224) -> Built:
    return Built(Call(net, logits), {"pixel_values": pixels(size, size)}, ["logits"], gains or {})


def resnet50() -> Built:
    from transformers import ResNetConfig, ResNetForImageClassification

    # The last convolution of each residual branch, so that sixteen of them add up to something moderate.
    return classifier(
        ResNetForImageClassification(ResNetConfig(num_labels=1000)), {"layer.2.convolution.weight": 0.4}
    )


REFERENCES = (
    Reference(
        "resnet50",
        "image classification",
        "transformers ResNetForImageClassification, microsoft/resnet-50 sizes",
        TRANSFORMERS,
        resnet50,
    ),
)
