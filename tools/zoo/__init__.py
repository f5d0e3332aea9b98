"""The reference models' architectures, and how a framework's model becomes a graph without weights.

Only the exporter (tools/build_models.py) imports this package: it needs torch, transformers and diffusers.
"""

from __future__ import annotations

from dataclasses import replace

from .reference import Reference

__all__ = ["references"]


def references() -> tuple[Reference, ...]:
    """Every reference model, in the order of the manifest."""
    from . import (
        classification,
        decoders,
        dense,
        diffusion,
        encoders,
        forecasts,
        generation,
        graph,
        language,
        ocr,
        other,
        series,
        sound,
        speech,
        variants,
        vision,
    )

    standard = (vision, ocr, language, speech, series, diffusion, other)
    others = (classification, dense, encoders, decoders, sound, forecasts, generation, graph, variants)
    return (
        *(replace(reference, suite="standard") for family in standard for reference in family.REFERENCES),
        *(reference for family in others for reference in family.REFERENCES),
    )
