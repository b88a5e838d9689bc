"""How adapters act: where they stand in the layers of a model, and how several act together."""
