"""What the terminal shows while something is trained, and native noise that it does not show."""

import io
import os

import keras
import numpy as np
import pytest
from rich.console import Console

from kzoo.cli.progress import TrainingProgress
from kzoo.demo.console import Clock, clock_time
from kzoo.demo.needs import quiet_stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_for_each_epoch(terminal):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, color_system=None)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    x, y = np.zeros((8, 2)), np.zeros(8)
    data = {"batch_size": 2, "epochs": 2, "validation_data": (x, y), "verbose": 0}
    history = model.fit(x, y, callbacks=[TrainingProgress(console, "epoch")], **data).history
    shown = screen.getvalue()
    for epoch in (1, 2):
        loss, accuracy = history["loss"][epoch - 1], history["accuracy"][epoch - 1]
        assert f"epoch {epoch}/2: loss {loss:.3f}, accuracy {accuracy:.1%}, validation" in shown
    assert ("4/4" in shown) is terminal


def test_steps_are_timed():
    screen = io.StringIO()
    clock = Clock(Console(file=screen, width=80), 2)
    with clock.step("a", "First"):
        pass
    with clock.step("b", "Second"):
        sum(range(100_000))
    assert list(clock.seconds) == list(clock.cpu_seconds) == ["a", "b"]
    assert "1/2  First" in screen.getvalue() and "2/2  Second" in screen.getvalue()
    assert [clock_time(s) for s in (0, 59.9, 187)] == ["0:00", "0:59", "3:07"]


def test_native_noise_is_held_back_unless_the_block_fails(capfd):
    with quiet_stderr():
        os.write(2, b"greetings\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(RuntimeError), quiet_stderr():
        os.write(2, b"the reason\n")
        raise RuntimeError
    assert capfd.readouterr().err == "the reason\n"
