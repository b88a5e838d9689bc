"""What `kzoo demo` does: load, fit, compare, distil, index, ask, report. See `run.run_demo`.

Importing the package imports neither TensorFlow nor the libraries of the extra `demo`.
"""
