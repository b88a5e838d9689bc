"""`kzoo.Trunk`: a pretrained backbone with its adapters as one Keras layer."""
