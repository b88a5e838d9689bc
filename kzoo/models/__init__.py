"""kzoo's Keras models: a trunk, its adapters and a head in one functional graph."""
