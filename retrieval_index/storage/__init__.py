"""What lies on disk: manifest, documents, vectors, and the folder a build works in."""
