"""Adapters: small trained layers inside a frozen trunk.

One file per method holds its configuration and its parameter count; `layers/` holds the Keras
layers, so that configurations can be read and counted without importing TensorFlow.
"""

from kzoo.adapters.config import AdapterConfig, list_methods, parse_adapter

__all__ = ["AdapterConfig", "list_methods", "parse_adapter"]
