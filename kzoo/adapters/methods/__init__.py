"""The methods: a module for each or for several of a kind, with configurations and counts.

A module here registers its names with `kzoo.adapters.config.register_method`, and is imported when
one of them is asked for; nothing else has to know it. Its Keras layer stands in
`kzoo/adapters/layers/` under the same name.
"""
