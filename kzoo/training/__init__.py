"""What `fit` needs around Keras: length buckets, XLA choice, schedules."""
