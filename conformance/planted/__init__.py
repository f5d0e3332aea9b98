"""Backends that are wrong on purpose, and backends that are right in another way: what the judge is judged by.

A *defect* is a small change of a correct backend, as drivers and compilers make them; the suite must fail it. A
*variant* computes otherwise, but within what the rules allow; the suite must pass it. `sensitivity` runs both.
"""

from .record import Defect, Variant, defects, variants
from .subject import NotApplicable, Outputs, Subject, equal

__all__ = ["Defect", "NotApplicable", "Outputs", "Subject", "Variant", "defects", "equal", "variants"]
