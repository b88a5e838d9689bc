"""One model, three customers, one batch: every row has an adapter, and a head, of its own.

Prints that each row's answer equals that of its adapter alone.
"""

import numpy as np

import kzoo

TASKS = {
    "anna": (["I love it", "wonderful", "I hate it", "dreadful"], [1, 1, 0, 0]),
    "ben": (["where is it?", "how much?", "it is here", "two euros"], [1, 1, 0, 0]),
    "carla": (["one two three", "four five", "red green", "blue"], [1, 1, 0, 0]),
}

model = kzoo.load("bert-linear", num_classes=2)
for name, (texts, labels) in TASKS.items():
    model.adapters.add(name, "lora[r=4]")
    model.compile(learning_rate=3e-3)
    model.fit(texts, labels, epochs=3, batch_size=4, verbose=0)

texts = ["I love it", "how much?", "red green", "I love it"]
names = ["anna", "ben", "carla", "__base__"]
model.adapters.activate(kzoo.PerRow(*TASKS))
together = model.predict(texts, adapter_names=names, verbose=0)

for row, name in enumerate(names[:3]):
    model.adapters.activate(name)
    alone = model.predict(texts, verbose=0)[row]
    print(name, "equal" if np.allclose(together[row], alone, atol=1e-5) else "DIFFERENT")
