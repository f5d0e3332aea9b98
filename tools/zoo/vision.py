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


def mobilenet_v2() -> Built:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return classifier(MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000)))


def vit_small() -> Built:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=1000)
    return classifier(ViTForImageClassification(config))


def convnext_tiny() -> Built:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return classifier(ConvNextForImageClassification(ConvNextConfig(num_labels=1000)))


def detr_resnet50() -> Built:
    """Without the mask that pads a batch: one image fills it."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(out_features=["stage4"])
    net = DetrForObjectDetection(DetrConfig(use_timm_backbone=False, backbone_config=backbone, num_labels=91))

    def forward(net: nn.Module, image: Any) -> Any:
        result = net(pixel_values=image)
        return result.logits, result.pred_boxes

    gains = {"layer.2.convolution.weight": 0.4}
    return Built(Call(net, forward), {"pixel_values": pixels(256, 256)}, ["logits", "pred_boxes"], gains)


def yolos_tiny() -> Built:
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(
        hidden_size=192,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=[256, 256],
        num_detection_tokens=100,
        num_labels=91,
        use_mid_position_embeddings=False,
    )

    def forward(net: nn.Module, image: Any) -> Any:
        result = net(pixel_values=image)
        return result.logits, result.pred_boxes

    net = YolosForObjectDetection(config)
    return Built(Call(net, forward), {"pixel_values": pixels(256, 256)}, ["logits", "pred_boxes"])


def segformer_b0() -> Built:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return classifier(SegformerForSemanticSegmentation(SegformerConfig(num_labels=150)), size=256)


REFERENCES = (
    Reference(
        "resnet50",
        "image classification",
        "transformers ResNetForImageClassification, microsoft/resnet-50 sizes",
        TRANSFORMERS,
        resnet50,
    ),
    Reference(
        "mobilenet-v2",
        "image classification",
        "transformers MobileNetV2ForImageClassification, google/mobilenet_v2_1.0_224 sizes",
        TRANSFORMERS,
        mobilenet_v2,
        opset=18,
        fold=False,
    ),
    Reference(
        "vit-small",
        "image classification",
        "transformers ViTForImageClassification, ViT-S/16 sizes",
        TRANSFORMERS,
        vit_small,
        opset=18,
    ),
    Reference(
        "convnext-tiny",
        "image classification",
        "transformers ConvNextForImageClassification, facebook/convnext-tiny-224 sizes",
        TRANSFORMERS,
        convnext_tiny,
    ),
    Reference(
        "detr-resnet50",
        "detection",
        "transformers DetrForObjectDetection, facebook/detr-resnet-50 sizes, 256 x 256",
        TRANSFORMERS,
        detr_resnet50,
        opset=18,
    ),
    Reference(
        "yolos-tiny",
        "detection",
        "transformers YolosForObjectDetection, hustvl/yolos-tiny sizes, 256 x 256",
        TRANSFORMERS,
        yolos_tiny,
    ),
    Reference(
        "segformer-b0",
        "segmentation",
        "transformers SegformerForSemanticSegmentation, nvidia/segformer-b0 sizes, 256 x 256",
        TRANSFORMERS,
        segformer_b0,
    ),
)
