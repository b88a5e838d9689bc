"""`kzoo.adapt`: LoRA on a Keras model that kzoo did not make, and its weights merged at the end.

Prints the trainable parameters, and that the merged model computes the same without the adapter.
"""

import keras
import numpy as np

import kzoo

keras.utils.set_random_seed(0)
inputs = keras.Input((8,))
hidden = keras.layers.Dense(64, activation="relu", name="hidden")(inputs)
model = keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))
model.compile("adam", "mse")

adapters = kzoo.adapt(model)
adapters.add("shift", "lora[r=2,targets=[hidden, out]]")
print("trained", sum(int(np.prod(v.shape)) for v in model.trainable_variables))

x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
model.fit(x, x[:, :1] ** 2, epochs=3, verbose=0)
adapted = model.predict(x, verbose=0)
adapters.merge_and_unload("shift")
print("merged", np.allclose(model.predict(x, verbose=0), adapted, atol=1e-5), list(adapters))
