"""The entries that generate, on tiny HF folders: from the recipe to a completion and a file."""

import numpy as np
import pytest

import kzoo

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CONFIGS = {
    "gpt2-lora": lambda: transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32, n_inner=None
    ),
    "gpt2-prompt": lambda: transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32, n_inner=None
    ),
    "llama-lora": lambda: transformers.LlamaConfig(
        **SIZES, intermediate_size=24, num_key_value_heads=1, tie_word_embeddings=True
    ),
    "qwen-lora": lambda: transformers.Qwen3Config(
        **SIZES, intermediate_size=24, num_key_value_heads=1, head_dim=8, tie_word_embeddings=True
    ),
    "t5-adapter": lambda: transformers.T5Config(
        vocab_size=40, d_model=16, num_layers=1, num_heads=2, d_kv=8, d_ff=24
    ),
}
MODELS = {
    "gpt2-lora": "GPT2LMHeadModel",
    "gpt2-prompt": "GPT2LMHeadModel",
    "llama-lora": "LlamaForCausalLM",
    "qwen-lora": "Qwen3ForCausalLM",
    "t5-adapter": "T5ForConditionalGeneration",
}


def letters(path):
    import tokenizers

    special = ["<pad>", "</s>", "<|endoftext|>", "<unk>"]
    words = [*special, *"abcdefghijklmnopqrstuvwxyz "]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(path / "tokenizer.json"))


@pytest.mark.parametrize("name", CONFIGS)
def test_entry(name, tmp_path):
    config = CONFIGS[name]()
    getattr(transformers, MODELS[name])(config).save_pretrained(tmp_path / "weights")
    letters(tmp_path / "weights")
    model = kzoo.load(name, backbone=str(tmp_path / "weights"), max_tokens=30, epochs=1)
    pairs = [("one", " two"), ("red", " blue")]
    trained = model.adapters.variables("default")
    before = {key: np.asarray(variable) for key, variable in trained.items()}
    model.compile(jit_compile=False)
    model.fit(pairs, batch_size=2, verbose=0)
    assert any(np.abs(np.asarray(v) - before[key]).max() > 0 for key, v in trained.items())
    found = model.generate(["one", "red"], max_new_tokens=3)
    assert len(found) == 2
    model.save(tmp_path / "model.keras")
    assert kzoo.load(tmp_path / "model.keras").generate(["one", "red"], max_new_tokens=3) == found
