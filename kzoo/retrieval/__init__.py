"""The Keras side of retrieval: text encoders."""
