"""The methods: one module each, with the configuration and the arithmetic of its parameters.

A module here registers itself with `kzoo.adapters.config.register_method` when it is imported;
nothing else has to know it. Its Keras layer stands in `kzoo/adapters/layers/` under the same name.
"""
