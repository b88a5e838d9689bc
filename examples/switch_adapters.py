"""Several adapters on one trunk: add, switch, switch off, delete."""

import numpy as np

import kzoo

TEXTS = ["the plot is thin", "a joy from start to end", "I want my money back"]


def main() -> None:
    """Shows that switching is exact and instant."""
    model = kzoo.load("bert-linear", labels=["bad", "good"])
    plain = model.predict(TEXTS, verbose=0)

    model.adapters.add("lora", "lora[r=4,alpha=8]")
    model.adapters.add("houlsby", "houlsby[reduction_factor=32]", activate=False)
    model.adapters.summary()

    # Only the active adapter and the head are trained.
    model.fit(TEXTS, ["bad", "good", "bad"], epochs=3, verbose=0)
    adapted = model.predict(TEXTS, verbose=0)

    head = [np.asarray(v) for v in model.head.weights]
    model.adapters.deactivate()
    print("with and without:", np.abs(adapted - model.predict(TEXTS, verbose=0)).max())
    print("the head moved too:", np.abs(plain - model.predict(TEXTS, verbose=0)).max())

    model.adapters.activate("houlsby")  # untrained: an exact identity
    model.adapters.activate("lora", "houlsby")  # both, lora innermost
    model.adapters.delete("houlsby")
    print(model.adapters, "head of", head[0].shape)


if __name__ == "__main__":
    main()
