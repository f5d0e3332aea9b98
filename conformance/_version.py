"""The suite's version: patch, no grade changes; minor, cases added; major, rules changed."""

__version__ = "0.1.0"
