"""The sections of a recipe: a file a kind; each validates its data and builds its part.

Read without TensorFlow; what builds imports it.
"""

from __future__ import annotations

from kzoo.zoo.sections.section import HeadSection, Section

__all__ = ["HeadSection", "Section"]
