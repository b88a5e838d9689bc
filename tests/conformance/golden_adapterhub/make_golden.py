"""Makes the golden files in this folder with AdapterHub's own library.

Not run by the tests. In an environment of its own:

    pip install adapters==1.3.0 transformers==4.57.6 torch==2.13.0 safetensors numpy
    python make_golden.py [folder]

`trunk/` is a random BERT of two blocks of width 16. Every other folder is an adapter that the
library saved, with random values for all of its tensors, and `expected.safetensors` holds the
hidden states that the library computed with it. `fusion` is a setup of two adapters with a folder
each; `setup` is another composition of the same two. What the heads give is logits.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import adapters
import torch
from adapters import (
    AdapterPlusConfig,
    BertAdapterModel,
    CompacterConfig,
    CompacterPlusPlusConfig,
    ConfigUnion,
    DiReftConfig,
    DoRAConfig,
    DoubleSeqBnConfig,
    DvoRAConfig,
    IA3Config,
    LoRAConfig,
    LoReftConfig,
    MAMConfig,
    NoReftConfig,
    ParBnConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    SeqBnConfig,
    SeqBnInvConfig,
    UniPELTConfig,
    VeraConfig,
)
from adapters.composition import Fuse, Stack
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

IDS = torch.tensor([[2, 31, 15, 7, 8, 3], [2, 12, 39, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])

CASES = {
    "seq_bn": SeqBnConfig(reduction_factor=4),
    "double_seq_bn": DoubleSeqBnConfig(reduction_factor=4),
    "par_bn": ParBnConfig(reduction_factor=4),
    "scaled_par_bn": ParBnConfig(reduction_factor=4, scaling="learned", ln_after=True),
    "seq_bn_options": SeqBnConfig(
        reduction_factor={"1": 8, "default": 4},
        non_linearity="leakyrelu",
        ln_before=True,
        ln_after=True,
        use_gating=True,
        scaling=2.5,
        residual_before_ln="post_add",
        leave_out=[0],
    ),
    "double_seq_bn_options": DoubleSeqBnConfig(
        reduction_factor=4,
        non_linearity="gelu_new",
        ln_after=True,
        adapter_residual_before_ln=True,
        leave_out=[0],
    ),
    "adapter_plus": AdapterPlusConfig(reduction_factor=4, stochastic_depth=0.0),
    "leave_out": SeqBnConfig(reduction_factor=4, leave_out=[0]),
    "compacter": CompacterConfig(reduction_factor=4),
    "compacter++": CompacterPlusPlusConfig(
        reduction_factor=4, shared_phm_rule=False, factorized_phm_rule=True, factorized_phm_W=False
    ),
    "seq_bn_inv": SeqBnInvConfig(reduction_factor=4),
    "lora": LoRAConfig(
        r=2, alpha=6, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True
    ),
    "lora_gated": LoRAConfig(r=2, alpha=6, use_gating=True),
    "ia3": IA3Config(),
    "dora": DoRAConfig(r=2, alpha=6),
    "vera": VeraConfig(r=2, alpha=6, leave_out=[1]),
    "dvora": DvoRAConfig(r=2, alpha=6, leave_out=[1]),
    "prefix_flat": PrefixTuningConfig(flat=True, prefix_length=3),
    "prefix_mlp": PrefixTuningConfig(prefix_length=3, bottleneck_size=5, leave_out=[1]),
    "prompt": PromptTuningConfig(prompt_length=3),
    "prompt_after_bos": PromptTuningConfig(prompt_length=2, combine="prefix_after_bos"),
    "loreft": LoReftConfig(r=2, suffix_positions=1),
    "loreft_tied": LoReftConfig(
        r=2, prefix_positions=1, suffix_positions=1, tied_weights=True, layers=[1]
    ),
    "noreft": NoReftConfig(r=2, non_linearity="relu"),
    "direft": DiReftConfig(r=2),
    "mam": MAMConfig(
        PrefixTuningConfig(prefix_length=3, bottleneck_size=5, leave_out=[0]),
        ParBnConfig(reduction_factor=4),
    ),
    "unipelt": UniPELTConfig(
        PrefixTuningConfig(prefix_length=3, flat=True, shared_gating=False, leave_out=[1]),
        SeqBnConfig(reduction_factor=8, leave_out=[1]),
        LoRAConfig(r=2, alpha=6, leave_out=[0]),
    ),
    "two_bottlenecks": ConfigUnion(
        SeqBnConfig(reduction_factor=4),
        DoubleSeqBnConfig(reduction_factor=8, output_adapter=False, leave_out=[1]),
    ),
}
# The library's default is a pickle; it cannot write tensors that two modules share otherwise.
PICKLED = ("seq_bn", "seq_bn_options", "prefix_flat", "prefix_mlp", "mam", "unipelt")


def main(folder: Path) -> None:
    """Writes everything."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    trunk = BertModel(config)
    shuffle(trunk.named_parameters())
    trunk.save_pretrained(folder / "trunk")
    expected = {"input_ids": IDS, "attention_mask": MASK, "trunk": run(trunk)}
    for name, method in CASES.items():
        # With the default, torch's fused attention, the library lets virtual tokens see padding.
        eager = {"attn_implementation": "eager"} if name.startswith("prompt") else {}
        model = BertAdapterModel.from_pretrained(folder / "trunk", **eager).eval()
        if name == "double_seq_bn":  # keys without `bert.`
            model = BertModel.from_pretrained(folder / "trunk").eval()
            adapters.init(model)
        model.add_adapter("a", config=method)
        shuffle(adapter_parameters(model, "a"))
        if hasattr(model.base_model, "shared_parameters"):
            shuffle(model.base_model.shared_parameters.named_parameters())
        model.set_active_adapters("a")
        model.save_adapter(
            str(folder / name), "a", use_safetensors=name not in PICKLED, with_head=False
        )
        expected[name] = run(model)
    several(folder, expected)
    heads(folder, expected)
    tensors = {key: value.detach().contiguous() for key, value in expected.items()}
    save_file(tensors, folder / "expected.safetensors")


def several(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    """Compositions: a fusion, and another setup of the same adapters."""
    model = BertAdapterModel.from_pretrained(folder / "trunk").eval()
    for name in ("a", "b"):
        model.add_adapter(name, config=SeqBnConfig(reduction_factor=8))
        shuffle(adapter_parameters(model, name))
    fuse = Fuse("a", "b")
    model.add_adapter_fusion(fuse)
    shuffle((n, p) for n, p in model.named_parameters() if "adapter_fusion_layer" in n)
    model.set_active_adapters(fuse)
    expected["fusion"] = run(model)
    model.save_adapter_setup(str(folder / "fusion"), fuse, use_safetensors=True)
    setup = Stack("b", "a")
    model.set_active_adapters(setup)
    expected["setup"] = run(model)
    model.save_adapter_setup(str(folder / "setup"), setup, use_safetensors=True)
    for name in ("a", "b"):
        shutil.rmtree(folder / "setup" / name)


def heads(folder: Path, expected: dict[str, torch.Tensor]) -> None:
    """An adapter with each kind of classification head that there is."""
    for name, layers, pooler in (("two_layers", 2, False), ("one_layer", 1, True)):
        model = BertAdapterModel.from_pretrained(folder / "trunk").eval()
        model.add_adapter("a", config=IA3Config())
        model.add_classification_head(
            "a", num_labels=3, layers=layers, use_pooler=pooler, id2label={0: "x", 1: "y", 2: "z"}
        )
        shuffle(adapter_parameters(model, "a"))
        shuffle((n, p) for n, p in model.named_parameters() if n.startswith("heads."))
        model.set_active_adapters("a")
        model.save_adapter(str(folder / f"head_{name}"), "a", use_safetensors=name == "one_layer")
        expected[f"head_{name}"] = model(IDS, attention_mask=MASK).logits
    model = BertForSequenceClassification.from_pretrained(folder / "trunk", num_labels=3).eval()
    adapters.init(model)
    model.add_adapter("a", config=IA3Config())
    shuffle(adapter_parameters(model, "a"))
    shuffle((n, p) for n, p in model.named_parameters() if n.startswith("classifier."))
    model.set_active_adapters("a")
    model.save_adapter(str(folder / "head_static"), "a", use_safetensors=True)
    model.save_head(str(folder / "head_static"), use_safetensors=True)
    expected["head_static"] = model(IDS, attention_mask=MASK).logits


def adapter_parameters(model: torch.nn.Module, name: str) -> list[tuple[str, torch.nn.Parameter]]:
    """All parameters of an adapter."""
    return [(key, value) for key, value in model.named_parameters() if f".{name}." in key]


def shuffle(parameters: object) -> None:
    """Moves every value away from its start, so that no mistake hides behind a zero."""
    with torch.no_grad():
        for key, value in parameters:
            noise = 0.3 * torch.randn_like(value)
            if key.endswith(".original"):  # the diagonal of an orthogonal parametrisation is fixed
                noise = noise.triu(1)
            value += noise


def run(model: torch.nn.Module) -> torch.Tensor:
    """Hidden states, (2, tokens, 16)."""
    model.eval()
    with torch.no_grad():
        return model(IDS, attention_mask=MASK, output_hidden_states=True).last_hidden_state


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for old in target.iterdir() if target.exists() else ():
        if old.is_dir():
            shutil.rmtree(old)
    target.mkdir(parents=True, exist_ok=True)
    main(target)
    for path in target.rglob("*.json"):
        facts = json.loads(path.read_text())
        if "model_name" in facts:
            facts["model_name"] = "tiny-bert"  # and not the folder on this machine
        path.write_text(json.dumps(facts, sort_keys=True) + "\n")
