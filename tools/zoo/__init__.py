"""The reference models' architectures, and how a framework's model becomes a graph without weights.

Only the exporter (tools/build_models.py) imports this package: it needs torch, transformers and diffusers.
"""

from __future__ import annotations

from .reference import Reference

__all__ = ["references"]


def references() -> tuple[Reference, ...]:
    """Every reference model, in the order of the manifest."""
    from . import diffusion, language, ocr, other, series, speech, vision

    families = (vision, ocr, language, speech, series, diffusion, other)
    return tuple(reference for family in families for reference in family.REFERENCES)
