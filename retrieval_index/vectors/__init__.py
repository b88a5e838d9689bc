"""Vectors on disk: which FAISS index, how it is filled, read, searched, tuned and merged."""
