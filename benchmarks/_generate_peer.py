"""Worker: completions by HF transformers. See `_compare.run_worker`."""

from __future__ import annotations

import time
from typing import Any

from _clock import first_prefill_decode
from _compare import Result, serve


def work(request: dict[str, Any]) -> Result:
    """As `_generate_kzoo.work`."""
    start = time.perf_counter()
    import torch
    import transformers
    from tokenizers import Tokenizer

    torch.set_num_threads(request["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        request["weights"], dtype=torch.float32
    ).eval()
    tokenizer = Tokenizer.from_file(f"{request['weights']}/tokenizer.json")
    loaded = time.perf_counter()

    def call(count: int) -> tuple[float, float, list[str]]:
        began = time.perf_counter(), time.process_time()
        ids = torch.tensor([tokenizer.encode(request["prompt"]).ids] * request["batch_size"])
        with torch.no_grad():
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=count,
                eos_token_id=None,
                pad_token_id=0,
            )
        texts = [tokenizer.decode(row[ids.shape[1] :].tolist()) for row in found]
        return time.perf_counter() - began[0], time.process_time() - began[1], texts

    model.generation_config.eos_token_id = None
    return {"load": loaded - start, **first_prefill_decode(call, request["new_tokens"])}


if __name__ == "__main__":
    serve(work)
