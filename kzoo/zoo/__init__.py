"""The zoo: recipes as data, and from a recipe to a model."""
