"""Writing `.keras` files that are never half."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def save_atomically(model: Any, path: Path) -> None:
    """Writes a model with its optimizer; an older file is replaced at the very end."""
    fresh = path.with_name(f".{path.stem}.new.keras")
    try:
        model.save(fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def save_for_use(model: Any, path: Path) -> None:
    """Writes a model without optimizer state, which for Adam is twice its trained weights.

    The loaded model answers, evaluates and can be fitted anew: it compiles itself.
    """
    with uncompiled(model):
        save_atomically(model, path)


@contextmanager
def uncompiled(model: Any) -> Iterator[None]:
    """Inside, the model is saved as if it had never been compiled."""
    compiled, optimizer = model.compiled, getattr(model, "optimizer", None)
    model.compiled, model.optimizer = False, None
    try:
        yield
    finally:
        model.compiled, model.optimizer = compiled, optimizer
