"""KerasHub trunks: where their sublayers are, where their weights come from, how text enters."""
