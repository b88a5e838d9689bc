"""Adapters of other libraries: to a folder of HF PEFT's and back, without torch.

Prints what the folder holds and that the adapter that comes back computes the same.
"""

from pathlib import Path

import numpy as np

import kzoo

model = kzoo.load("bert-lora", num_classes=2)
model.fit(["good", "bad"] * 4, [1, 0] * 4, epochs=2, batch_size=4, verbose=0)
before = model.predict(["good", "bad"], verbose=0)

# The head stays here: this one stands on mean pooling, which HF's classifier does not have.
model.adapters.save_peft("default", "out/peft", with_head=False)
print(sorted(path.name for path in Path("out/peft").iterdir()))

model.adapters.delete("default")
model.adapters.load_peft("out/peft", name="back", with_head=False)
print("equal", np.allclose(model.predict(["good", "bad"], verbose=0), before, atol=1e-6))
