"""Chunking: from a document to passages that fit an encoder and know their characters."""
