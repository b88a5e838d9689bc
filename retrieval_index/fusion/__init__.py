"""One ranking out of several: methods, their registry, and weights tuned from judgements."""
