"""Worker: trains a tagger or a reader with `fit`. See `_compare.run_worker`."""

from __future__ import annotations

from typing import Any

from _clock import Clock
from _compare import Result, serve
from annotated import load_rows, make_model, score


def work(request: dict[str, Any]) -> Result:
    """Trains and scores one model.

    Args:
        request: The options of `annotated.py`, and `seed`.

    Returns:
        Seconds of `Clock.stop`, and scores.
    """
    import keras

    rows = load_rows(request["task"], request["data"], request["take"])
    model = make_model(request)
    model.compile(learning_rate=request["learning_rate"])

    class Ends(keras.callbacks.Callback):  # type: ignore[misc]
        """Tells the clock."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            clock.step()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            clock.epoch()

    clock = Clock()
    model.fit(
        *rows["train"],
        batch_size=request["batch_size"],
        epochs=request["epochs"],
        callbacks=[Ends()],
        verbose=0,
    )
    answer = clock.stop()
    for name in ("validation", "test"):
        values = model.predict_values(rows[name][0], verbose=0)
        if isinstance(rows[name][1], dict):
            values = dict(zip(("intent", "slots"), values, strict=True))
        found = score(model, values, rows[name][1])
        answer |= {f"{name}_{key}": value for key, value in found.items()}
    return answer


if __name__ == "__main__":
    serve(work)
