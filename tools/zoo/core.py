"""Core: the 35 operators without which no model of Tier 1 runs. Frozen: a change of it is a major version."""

from __future__ import annotations

__all__ = ["CORE"]

CORE = ("Conv",)
