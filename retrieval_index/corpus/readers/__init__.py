"""The built-in readers of corpus files: each file declares the `Reader`s that it makes."""
