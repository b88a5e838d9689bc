"""The Keras layers of the adapter methods, and the wrapper that holds them inside a block."""
