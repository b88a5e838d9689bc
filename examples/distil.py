"""Distil a fine-tuned trunk with an adapter into two of its six blocks."""

import kzoo
from kzoo.distillation import SoftTargetKL

SPLIT = 96


def main() -> None:
    """Uses a slice of the docstrings of the running Python, so that nothing is downloaded."""
    data = kzoo.datasets.load("python-docs", split="train").take(SPLIT, seed=0)

    teacher = kzoo.load("bert-adapter", max_tokens=64)
    teacher.fit(data, epochs=2, batch_size=16, verbose=2)

    student = kzoo.load("bert-tiny-student", max_tokens=64)
    distiller = kzoo.Distiller(teacher, student, SoftTargetKL(temperature=2.0))
    distiller.fit(data, epochs=2, batch_size=16, verbose=2)

    for name, model in (("teacher", teacher), ("student", distiller.student)):
        print(name, f"{model.count_params():,} parameters", model.labels == teacher.labels)
    print(distiller.student.predict_labels(["Open a file and return a stream."], verbose=0))


if __name__ == "__main__":
    main()
