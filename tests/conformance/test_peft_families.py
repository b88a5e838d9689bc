"""PEFT folders of HF models: random checkpoints of every method are read, written and read back.

Outputs of kzoo's model and of PEFT's agree both ways, and the keys written are PEFT's own.
"""

import copy
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_families_hf import BERT, CASES, batch
from tiny import make_model

import kzoo
from kzoo.backbones.loading import load_pretrained
from kzoo.errors import AdapterError
from kzoo.models.classifier import TextClassifier

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

# The ids that `batch` draws first.
IDS = np.random.default_rng(0).integers(4, 60, (3, 9))
MODELS = {
    "bert": ("BertForSequenceClassification", BERT | {"num_labels": 3}),
    "roberta": ("RobertaModel", BERT | {"pad_token_id": 1}),
    "distilbert": (
        "DistilBertModel",
        {
            "vocab_size": 60,
            "n_layers": 2,
            "n_heads": 4,
            "dim": 16,
            "hidden_dim": 24,
            "max_position_embeddings": 40,
            "initializer_range": 0.3,
        },
    ),
    "gpt2": ("GPT2LMHeadModel", CASES["gpt2"][1]),
    "llama": ("LlamaForCausalLM", CASES["llama"][1] | CASES["llama"][2]),
    "mistral": ("MistralForCausalLM", CASES["mistral"][1] | CASES["mistral"][2]),
    "qwen2": ("Qwen2ForCausalLM", CASES["qwen2"][1] | CASES["qwen2"][2]),
    "qwen3": ("Qwen3ForCausalLM", CASES["qwen3"][1] | CASES["qwen3"][2]),
    "gemma": ("GemmaForCausalLM", CASES["gemma"][1]),
    "t5": ("T5ForConditionalGeneration", CASES["t5"][1]),
    "t5-v1.1": ("T5ForConditionalGeneration", CASES["t5-v1.1"][1] | CASES["t5-v1.1"][2]),
    "bart": ("BartForConditionalGeneration", CASES["bart"][1]),
}
# Targets of each family: (query and value, a norm, feed-forward output, all for IA3)
_LLAMA = (["q_proj", "v_proj"], "input_layernorm", "down_proj", ["k_proj", "v_proj", "down_proj"])
_BERT = (["query", "value"], "LayerNorm", "output.dense", ["key", "value", "output.dense"])
_T5 = (["q", "v"], "layer_norm", "wo", ["k", "v", "wo"])
TARGETS = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": (["q_lin", "v_lin"], "sa_layer_norm", "ffn.lin2", ["k_lin", "v_lin", "ffn.lin2"]),
    "gpt2": (["c_attn"], "ln_1", "mlp.c_proj", ["c_attn", "mlp.c_proj"]),
    "bart": (["q_proj", "v_proj"], "self_attn_layer_norm", "fc2", ["k_proj", "v_proj", "fc2"]),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma"), _LLAMA),
    **dict.fromkeys(("t5", "t5-v1.1"), _T5),
}


# As upstream; PiSSA and OLoRA are decomposed twice, in float32.
LOOSE = ("adalora", "oft", "pissa", "olora")


def configs(name):
    """Method -> PEFT's configuration for a family."""
    attention, norm, output, rescaled = TARGETS[name]
    embedding = "wte" if name == "gpt2" else "word_embeddings"
    lora = {"r": 3, "lora_alpha": 12}
    found = {
        "all-linear": peft.LoraConfig(**lora, target_modules="all-linear"),
        "ia3": peft.IA3Config(target_modules=rescaled, feedforward_modules=[output]),
    }
    if name not in ("bert", "gpt2", "t5"):
        if name == "roberta":  # HF's pooler is not part of kzoo's model
            found["all-linear"].exclude_modules = ["pooler.dense"]
        if name == "llama":  # keys and values have fewer heads
            found["prefix"] = peft.PrefixTuningConfig(num_virtual_tokens=4)
            found["prompt"] = peft.PromptTuningConfig(num_virtual_tokens=4)
        return found
    one_block = {"target_modules": attention, "layers_to_transform": [1]}
    plain = attention if name != "gpt2" else [output]
    if name == "t5":
        one_block = {"target_modules": r"decoder\.block\.1\..*\.(q|v)"}
    first = {"bert": "attention.self.value", "gpt2": "h.0.attn.c_attn", "t5": "0.SelfAttention.v"}
    found |= {
        "dora": peft.LoraConfig(**lora, target_modules=attention, use_dora=True),
        "one-block": peft.LoraConfig(**lora, **one_block),
        "patterns": peft.LoraConfig(
            **lora,
            target_modules=attention,
            use_rslora=True,
            rank_pattern={first[name]: 5},
            alpha_pattern={first[name]: 7},
        ),
        "bias": peft.LoraConfig(**lora, target_modules=attention, bias="lora_only"),
        "adalora": peft.AdaLoraConfig(
            init_r=4, target_r=2, total_step=10, lora_alpha=12, target_modules=attention
        ),
        "vera": peft.VeraConfig(r=5, target_modules=plain),
        "hira": peft.HiraConfig(r=3, target_modules=attention),  # fused in GPT-2
        "pissa": peft.LoraConfig(**lora, target_modules=plain, init_lora_weights="pissa"),
        "ln": peft.LNTuningConfig(target_modules=[norm]),
    }
    if name != "gpt2":  # PEFT has none of these for Conv1D
        found |= {
            "oft": peft.OFTConfig(oft_block_size=4, target_modules=attention),
            "loha": peft.LoHaConfig(r=3, alpha=6, target_modules=attention),
            "lokr": peft.LoKrConfig(r=2, alpha=6, target_modules=attention),
            "olora": peft.LoraConfig(**lora, target_modules=attention, init_lora_weights="olora"),
        }
    if name == "bert":
        # Two layers with their own A, B of all layers.
        found["lily"] = peft.LilyConfig(r=3, stride_A=1, num_B=3, target_modules=attention)
        found["lily-shared"] = peft.LilyConfig(r=3, stride_A=2, num_B=2, target_modules=attention)
        found["randlora"] = peft.RandLoraConfig(r=5, target_modules=["query", "output.dense"])
        found["vblora"] = peft.VBLoRAConfig(
            vector_length=4, num_vectors=6, target_modules=attention
        )
        found["pooler-saved"] = peft.LoraConfig(
            **lora, target_modules=attention, modules_to_save=["pooler"]
        )
    if name != "t5":
        found["embedding"] = peft.LoraConfig(**lora, target_modules=[*attention, embedding])
        found["tokens"] = peft.TrainableTokensConfig(
            target_modules=[embedding], token_indices=sorted({*IDS[0, :4].tolist()})
        )
        found["prompt"] = peft.PromptTuningConfig(num_virtual_tokens=4)
        found["prefix"] = peft.PrefixTuningConfig(num_virtual_tokens=4)
        found["ptuning"] = peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=6)
    return found


class Pair:
    """One HF model and kzoo's of the same weights."""

    def __init__(self, name, folder):
        class_name, sizes = MODELS[name]
        cls = getattr(transformers, class_name)
        torch.manual_seed(0)
        self.name = name
        self.torch = cls(cls.config_class(**sizes)).eval()
        with torch.no_grad():
            for parameter in self.torch.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        self.torch.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        trunk = load_pretrained(str(folder))
        self.family = trunk.family
        if name == "bert":
            head = dict(pooling="pooler")
            spec = dict(recipe="tiny", max_tokens=16, head=head, num_classes=3)
            self.keras = make_model(TextClassifier, trunk, **spec)
        else:
            self.keras = trunk.backbone
            kzoo.adapt(self.keras)
        self.ours, self.theirs, self.masks = batch(trunk.family, np.random.default_rng(0))
        self.task = "SEQ_CLS" if name == "bert" else "CAUSAL_LM"
        if trunk.family.kind == "encoder-decoder":
            self.task = "SEQ_2_SEQ_LM"
        elif name in ("roberta", "distilbert"):
            self.task = "FEATURE_EXTRACTION"

        self.reset_head()

    def reset_head(self):
        if self.name == "bert":
            self.keras.head.of(None).kernel.assign(self.torch.classifier.weight.detach().numpy().T)
            self.keras.head.of(None).bias.assign(self.torch.classifier.bias.detach().numpy())

    def run_torch(self, model):
        with torch.no_grad():
            output = model(**self.theirs, output_hidden_states=True)
        if self.name == "bert":
            return output.logits.numpy()
        states = getattr(output, "decoder_hidden_states", None) or output.hidden_states
        return self._real(states[-1].numpy())

    def run_keras(self, virtual=None):
        inputs = self.ours
        if virtual is not None:
            front = np.tile(virtual, (3, 1)).astype("int32")
            blank = {"token_ids": front, "padding_mask": np.ones_like(front)}
            inputs = {
                key: np.concatenate([blank.get(key, np.zeros_like(front)), value], 1)
                for key, value in inputs.items()
            }
        output = self.keras(inputs)
        if self.name == "bert":
            return np.asarray(output)
        if isinstance(output, dict):
            output = output.get("decoder_sequence_output", output.get("sequence_output"))
        return self._real(np.asarray(output))

    def _real(self, states):
        mask = self.masks.get("", self.masks.get("decoder_"))
        return states[:, -mask.shape[1] :][mask > 0]


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """The models of a family; built once."""
    return Pair(request.param, tmp_path_factory.mktemp(request.param.replace(".", "")))


def random_values(model, generator, head):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and (head or "classifier" not in name):
                noise = torch.randn(parameter.shape, generator=generator)
                keep = (
                    name.endswith(("magnitude_vector.default.weight", "bias")) or "prompt" in name
                )
                parameter.copy_(parameter + 0.1 * noise if keep else 0.15 * noise)


def loaded(model, folder):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = peft.PeftModel.from_pretrained(model, folder).eval()
    complaints = [str(w.message) for w in seen if "adapter keys" in str(w.message).lower()]
    assert not complaints, complaints
    return found


@pytest.mark.filterwarnings(
    "ignore",
    "error::kzoo.interop.InteropWarning",
    "ignore:The head is not written",
)
def test_both_ways(pair, tmp_path):
    generator = torch.Generator().manual_seed(0)
    plain = pair.run_keras()
    np.testing.assert_allclose(plain, pair.run_torch(pair.torch), atol=5e-5)
    for method, config in configs(pair.name).items():
        config.task_type = pair.task
        reference = peft.get_peft_model(copy.deepcopy(pair.torch), config).eval()
        # PEFT trains the head beside trained tokens, and does not save it.
        random_values(reference, generator, head=method != "tokens")
        expected = pair.run_torch(reference)
        theirs, ours = tmp_path / method / "theirs", tmp_path / method / "ours"
        reference.save_pretrained(theirs)
        adapters = pair.keras.adapters
        adapters.load_peft(theirs, "a")
        virtual = None
        if method in ("prompt", "ptuning"):
            (_, layer), *_ = adapters.host.sites.layers("a")
            virtual = layer.virtual_tokens().ids
        found = pair.run_keras(virtual)
        tolerance = 1e-4 if method in LOOSE else 1e-5
        assert np.abs(expected - plain).max() > 1e-2, method  # the adapter acts
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=method)
        adapters.save_peft("a", ours)
        adapters.delete("a")
        pair.reset_head()
        back = pair.run_torch(loaded(copy.deepcopy(pair.torch), ours))
        np.testing.assert_allclose(back, expected, atol=tolerance, err_msg=f"{method} written")
        keys = [set(load_file(f / "adapter_model.safetensors")) for f in (theirs, ours)]
        extra = {key for key in keys[0] if key.endswith("base_layer.weight")}
        if method not in ("prompt", "prefix", "ptuning"):
            assert keys[0] - extra == keys[1], method


@pytest.mark.parametrize("pair", ["t5"], indirect=True)
@pytest.mark.filterwarnings("ignore")
def test_prompts_of_two_stacks_are_refused(pair, tmp_path):
    config = peft.PromptTuningConfig(num_virtual_tokens=4, task_type="SEQ_2_SEQ_LM")
    peft.get_peft_model(copy.deepcopy(pair.torch), config).save_pretrained(tmp_path / "a")
    with pytest.raises(AdapterError, match="`num_transformer_submodules` 2"):
        pair.keras.adapters.load_peft(tmp_path / "a")
    pair.keras.adapters.add("a", "prompt[num_virtual_tokens=4]")
    with pytest.raises(AdapterError, match="each of both stacks"):
        pair.keras.adapters.save_peft("a", tmp_path / "b")
    pair.keras.adapters.delete("a")


@pytest.mark.filterwarnings("ignore")
def test_score_of_a_causal_model(tmp_path):
    """HF's classifiers on decoders: one linear layer without bias on the last token."""
    sizes = MODELS["gpt2"][1] | {"num_labels": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    base = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**sizes)).eval()
    base.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    trunk = load_pretrained(str(tmp_path))
    spec = dict(recipe="tiny", max_tokens=16, head=dict(pooling="last"))
    model = make_model(TextClassifier, trunk, **spec)
    config = peft.LoraConfig(r=3, target_modules=["c_attn"], task_type="SEQ_CLS")
    reference = peft.get_peft_model(copy.deepcopy(base), config).eval()
    random_values(reference, torch.Generator().manual_seed(0), head=True)
    reference.save_pretrained(tmp_path / "theirs")
    ours, theirs, masks = batch(trunk.family, np.random.default_rng(0))
    theirs["input_ids"] = theirs["input_ids"] * torch.tensor(masks[""])
    with torch.no_grad():
        expected = reference(**theirs).logits.numpy()
    model.adapters.load_peft(tmp_path / "theirs", "a")
    np.testing.assert_allclose(np.asarray(model(ours)), expected, atol=1e-5)
    model.adapters.save_peft("a", tmp_path / "ours")
    with torch.no_grad():
        back = loaded(copy.deepcopy(base), tmp_path / "ours")(**theirs).logits.numpy()
    np.testing.assert_allclose(back, expected, atol=1e-5)
