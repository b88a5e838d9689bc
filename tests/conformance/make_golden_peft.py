"""Writes `golden_peft/`: tiny HF models, PEFT's adapters of them, and PEFT's outputs.

Run by hand where torch and peft are installed: `python tests/conformance/make_golden_peft.py`.
"""

import copy
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# Every method once on BERT; on GPT-2 those that have to divide `c_attn`.
METHODS = {
    "bert": [
        *("patterns", "dora", "bias", "ia3", "loha", "lokr", "vera", "adalora", "oft", "ln"),
        *("tokens", "prompt", "prefix", "ptuning"),
    ],
    "gpt2": ["one-block", "dora", "ia3", "prefix"],
}


def main() -> None:
    import peft
    import torch
    from safetensors.numpy import save_file
    from test_peft_families import Pair, configs, random_values

    target = HERE / "golden_peft"
    shutil.rmtree(target, ignore_errors=True)
    for name, methods in METHODS.items():
        folder = target / name
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            pair = Pair(name, Path(scratch))
            for file in ("config.json", "model.safetensors", "vocab.txt"):
                shutil.copy(Path(scratch) / file, folder / file)
        kept = dict(pair.ours)
        generator = torch.Generator().manual_seed(0)
        for method in methods:
            config = configs(name)[method]
            config.task_type = pair.task
            model = peft.get_peft_model(copy.deepcopy(pair.torch), config).eval()
            random_values(model, generator, head=method != "tokens")
            model.save_pretrained(folder / method)
            (folder / method / "README.md").unlink()
            kept[f"output.{method}"] = pair.run_torch(model)
        if name == "bert":
            kept["head.kernel"] = pair.torch.classifier.weight.detach().numpy().T
            kept["head.bias"] = pair.torch.classifier.bias.detach().numpy()
        save_file({k: np.ascontiguousarray(v) for k, v in kept.items()}, folder / "outputs.st")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
