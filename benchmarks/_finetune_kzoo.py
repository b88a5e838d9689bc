"""Worker: trains a zoo entry with `fit` on raw strings. See `_compare.run_worker`."""

from __future__ import annotations

from typing import Any

from _clock import Clock
from _compare import Result, serve
from _tasks import METHODS, load_task, scores


def work(request: dict[str, Any]) -> Result:
    """Trains and scores one model.

    Args:
        request: The options of `finetune.py`, and `jit`, `no_dropout`, `seed`.

    Returns:
        Seconds (first_step, first_epoch, later_epochs, total), scores and losses.
    """
    import keras

    import kzoo

    data = load_task(request["dataset"], request["data"], request["variant"], request["limit"])
    options = {"seed": request["seed"], "num_classes": data.num_classes}
    options |= {key: request[key] for key in ("max_tokens", "pooling") if request.get(key)}
    if request["method"] == "lora":
        options["adapter"] = {"method": "lora", "r": request["rank"], "alpha": request["alpha"]}
    model = kzoo.load(METHODS[request["method"]], **options)
    if request.get("no_dropout"):
        _silence_dropout(model)
    model.compile(
        learning_rate=request["learning_rate"] or None, jit_compile=request.get("jit", "auto")
    )

    class Ends(keras.callbacks.Callback):  # type: ignore[misc]
        """Tells the clock."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            clock.step()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            clock.epoch()

    clock = Clock()
    history = model.fit(
        data["train"],
        batch_size=request["batch_size"] or None,
        epochs=request["epochs"] or None,
        callbacks=[Ends()],
        verbose=0,
    )
    answer = clock.stop() | {
        "trainable": sum(int(v.value.shape.num_elements()) for v in model.trainable_variables),
        "learning_rate": float(model.optimizer.learning_rate),
        "train_loss": float(history.history["loss"][-1]),
        "losses": [float(value) for value in history.history["loss"]],
    }
    for name in ("validation", "test"):
        split = data[name]
        logits = model.predict(split.inputs, batch_size=64, verbose=0)
        found = scores(request["dataset"], split.labels, logits)
        answer |= {f"{name}_{key}": value for key, value in found.items()}
    return answer


def _silence_dropout(model: Any) -> None:
    for layer in model._flatten_layers():
        if type(layer).__name__ == "Dropout":
            layer.rate = 0.0
        if hasattr(layer, "_dropout") and isinstance(layer._dropout, float):
            layer._dropout = 0.0


if __name__ == "__main__":
    serve(work)
