"""The methods: one module each, with the configuration and the arithmetic of its parameters.

A module here registers its names with `kzoo.adapters.config.register_method`, and is imported when
one of them is asked for; nothing else has to know it. Its Keras layer stands in
`kzoo/adapters/layers/` under the same name.
"""
