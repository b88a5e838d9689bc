"""Models of HF transformers that end in a head: read from a folder, and written as one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.backbones.family import Family
from kzoo.backbones.hf_format import backbone_config
from kzoo.backbones.hf_weights import Tensors, tensors_of
from kzoo.backbones.trunk import build, config_of
from kzoo.errors import WeightsError
from kzoo.files import replacing_folder

# What HF calls the class behind the family's name -> the kind of head.
_KINDS = {
    "SequenceClassification": "classify",
    "TokenClassification": "tag",
    "QuestionAnswering": "span",
    "MultipleChoice": "choose",
    "MaskedLM": "masked_lm",
}
# Family -> dense layer, norm and bias of the head for hidden tokens.
_MASKED = {
    "bert": (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
    ),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
}
_MASKED["xlm-roberta"] = _MASKED["roberta"]
_MATRICES = (
    *("cls.predictions.decoder.weight", "predictions.decoder.weight"),
    *("lm_head.decoder.weight", "vocab_projector.weight"),
)
_ENDINGS = {
    **{kind: ending for ending, kind in _KINDS.items()},
    **dict.fromkeys(("multilabel", "regress", "rank"), "SequenceClassification"),
}
_PROBLEMS = {
    "classify": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regress": "regression",
}
_SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class _Form:
    """A head of HF's.

    Args:
        layers: Modules of its one or two linear layers.
        hidden: Activation between two, as `kzoo.heads.Head` has it.
        pooling: What it stands on; None for a head at tokens.
    """

    layers: tuple[str, ...]
    hidden: str | None = None
    pooling: str | None = None


def _form(family: Family, ending: str) -> _Form:
    """The head of HF's class of a family.

    Raises:
        WeightsError: It is not known, or kzoo's trunk has not what it stands on.
    """
    known = None if family.hub is None else family.hub.head
    if ending == "MaskedLM" and family.name in _MASKED:
        return _Form(())
    if known is not None and ending == "TokenClassification":
        return _Form(("classifier",))
    if known is not None and ending == "QuestionAnswering":
        return _Form(("qa_outputs",))
    # RoBERTa's for multiple choice stands on a pooler, which KerasHub's backbone lacks.
    chooses = ending == "MultipleChoice" and family.name in ("bert", "distilbert")
    if known is None or not (chooses or ending == "SequenceClassification"):
        raise WeightsError(
            f"HF's heads of {ending or 'this kind'} are not known here for the family "
            f"{family.name}. Load the trunk alone with kzoo.Trunk(folder), under a fresh head."
        )
    hidden = known.activation if len(known.layers) == 2 else None
    return _Form(known.layers, hidden, "pooler" if known.pooler else "cls")


def load_hf(
    folder: str | Path,
    kind: str | None = None,
    max_tokens: int | None = None,
    frozen: bool = True,
    seed: int = 0,
    training: Any = None,
    **head: Any,
) -> Any:
    """Loads a model of HF transformers with its head and labels, outputs equal to HF's.

    Reads `BertForSequenceClassification` and the like: heads of sequences, tokens, questions,
    multiple choice and hidden tokens, of BERT, RoBERTa, XLM-RoBERTa, DistilBERT and (but for the
    last two) ELECTRA; of ALBERT hidden tokens. `kzoo.load(folder)` calls it.

    Args:
        folder: `config.json`, `model.safetensors` and tokenizer files.
        kind: Kind of the head. Default: by HF's class and `problem_type`; a classifier of one
            label is `regress`, and may be `rank` (a cross-encoder).
        max_tokens: As in `kzoo.Trunk`.
        frozen: As in `kzoo.Trunk`.
        seed: As in `kzoo.Trunk`.
        training: As in `kzoo.Model`.
        **head: Arguments of the head, such as `k` (of `choose` and `rank`; default 1 for `rank`).

    Returns:
        A `kzoo.Model`: `TextClassifier`, `Reranker` where the head is one of these.

    Raises:
        WeightsError: No such head, tensors that are missing or do not fit, or a `kind` that the
            head cannot be.
    """
    from kzoo.trunk.layer import Trunk
    from kzoo.zoo.loading import model_class

    folder = Path(folder).expanduser()
    trunk = Trunk(str(folder), max_tokens=max_tokens, frozen=frozen, seed=seed)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = str((config.get("architectures") or [""])[0])
    ending = architecture.partition("For")[2]
    form = _form(trunk.family, ending)
    tensors = Tensors(folder, trunk.family.names.anchor)
    outputs = len(tensors[f"{form.layers[-1]}.weight"]) if form.layers else 0
    outputs = outputs or int(trunk.vocabulary_size or 0)
    kind = kind or _usual_kind(ending, config, outputs)
    if _ENDINGS.get(kind) != ending or (kind == "rank" and outputs != 1):
        raise WeightsError(
            f"`kind` {kind!r}: {architecture} with {outputs} outputs is no such head."
        )
    options = {
        "kind": kind,
        "name": "head",
        "hidden": form.hidden,
        **_labels(kind, config, outputs),
    }
    if form.pooling is not None:
        options["pooling"] = form.pooling
    model = model_class(kind).on(trunk, {**options, **head}, training=training)
    answer = model.head.answers[""]
    if kind == "regress":  # the checkpoint's units: `fit` takes no others
        answer.rescale(*np.asarray([[0.0], [1.0]]).repeat(outputs, axis=1))
    last = (answer.kernel, answer.bias)
    for tensor, variable in _variables(answer, last, form, trunk.family).items():
        value = tensors[tensor].astype("float32").T
        if value.shape != tuple(variable.shape):
            raise WeightsError(
                f"`{tensor}` in {folder} has shape {value.T.shape}, which does not fit the head's "
                f"{tuple(variable.shape)}."
            )
        variable.assign(value)
    if kind == "masked_lm":
        _check_tied(tensors, trunk)
    return model


def _variables(answer: Any, last: Any, form: _Form, family: Family) -> dict[str, Any]:
    """HF's tensor -> the variable of an output layer; kernels are transposed there.

    `last` is kernel and bias of the output layer: the variables, or these as they are applied.
    """
    if not form.layers:
        dense, norm, bias = _MASKED[family.name]
        return {
            f"{dense}.weight": answer.kernel,
            f"{dense}.bias": answer.dense_bias,
            f"{norm}.weight": answer.gamma,
            f"{norm}.bias": answer.beta,
            bias: answer.bias,
        }
    layers = [last]
    if form.hidden is not None:
        layers.insert(0, (answer.hidden_kernel, answer.hidden_bias))
    return {
        f"{name}.{part}": variable
        for name, layer in zip(form.layers, layers, strict=True)
        for part, variable in zip(("weight", "bias"), layer, strict=True)
    }


def _check_tied(tensors: Tensors, trunk: Any) -> None:
    for name in _MATRICES:
        own = np.asarray(trunk.backbone.token_embedding.embeddings)
        if name in tensors and not np.array_equal(tensors[name].astype("float32"), own):
            raise WeightsError(
                f"`{name}` in {tensors.folder} is not the token embedding, which the head "
                "`masked_lm` has as its output matrix."
            )


def _usual_kind(ending: str, config: dict[str, Any], outputs: int) -> str:
    problem = config.get("problem_type")
    if ending == "SequenceClassification":
        if problem == "regression" or (outputs == 1 and problem is None):
            return "regress"
        if problem == "multi_label_classification":
            return "multilabel"
    return _KINDS[ending]


def _labels(kind: str, config: dict[str, Any], outputs: int) -> dict[str, Any]:
    """The head's classes; names that HF made up are none."""
    if kind == "regress":
        return {"num_targets": outputs}
    if kind == "rank":
        return {"k": 1}
    if kind not in ("classify", "multilabel", "tag"):
        return {}
    names = {int(key): str(value) for key, value in (config.get("id2label") or {}).items()}
    labels = [names.get(number) for number in range(outputs)]
    if None in labels or labels == [f"LABEL_{number}" for number in range(len(labels))]:
        return {"num_classes": outputs}
    return {"labels": labels}


# --- Writing ----------------------------------------------------------------------------------


def save_hf(model: Any, folder: str | Path) -> None:
    """Writes a model as a folder that HF transformers loads, outputs equal.

    `config.json` with `id2label`, `model.safetensors`, `tokenizer.json`. Adapters have to be part
    of the trunk's weights: `model.adapters.merge_and_unload(name)`.

    Args:
        model: One trunk, one head of a kind that `load_hf` knows.
        folder: Where to; a folder with a `config.json` is replaced.

    Raises:
        WeightsError: HF has no such head, an adapter acts, the trunk is quantised, HF's class
            cannot be the trunk, or `folder` holds something else.
    """
    from safetensors.numpy import save_file

    folder = Path(folder).expanduser()
    if folder.exists() and not (folder / "config.json").is_file() and any(folder.iterdir()):
        raise WeightsError(f"`folder` {str(folder)!r} is there and holds no model of HF's.")
    trunk, head = model.trunk, model.head
    family = trunk.family
    if trunk.adapters.active:
        raise WeightsError(
            f"The adapter {trunk.adapters.active[0]!r} acts, which HF's class does not have. Run: "
            "model.adapters.merge_and_unload(name)."
        )
    if modes := list(trunk.quantization()):
        raise WeightsError(
            f"The trunk is quantised to {modes[0]}, and a folder for transformers holds floats. "
            "Save it from a model that is not quantised."
        )
    if head.kind not in _ENDINGS or getattr(head, "crf", False) or family.hub is None:
        raise WeightsError(
            f"HF has no class of the family {family.name} for this head of kind {head.kind!r}."
        )
    form = _form(family, _ENDINGS[head.kind])
    if head.hidden != form.hidden or (form.pooling is not None and head.pooling != form.pooling):
        raise WeightsError(
            f"HF's class of the family {family.name} has `pooling` {form.pooling!r} and `hidden` "
            f"{form.hidden!r}, this head {head.pooling!r} and {head.hidden!r}."
        )
    source = trunk.get_config()["source"]
    bare = build(family.name, source["config"], trunk.architecture)
    for variable, own in zip(bare.weights, trunk.trunk_variables, strict=True):
        variable.assign(own)
    pooler = f"{family.names.pooler}."
    assert family.classes is not None and family.hub.head is not None
    tensors = {
        f"{family.classes.prefix}.{name}": value
        for name, value in tensors_of(bare, family).items()
        if form.pooling == "pooler" or not name.startswith(pooler)
    }
    answer = head.acting()[0]
    for name, variable in _variables(answer, answer.effective(), form, family).items():
        tensors[name] = np.asarray(variable, "float32").T
    config = {
        "architectures": [
            family.hub.head.model_class.partition("For")[0] + "For" + _ENDINGS[head.kind]
        ],
        **_hf_config(trunk, bare),
        **(_hf_labels(head) if form.layers else {}),
    }
    with replacing_folder(folder) as fresh:
        whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(whole, str(fresh / "model.safetensors"), metadata={"format": "pt"})
        files = {"config.json": config}
        if trunk.tokenizer_json:
            (fresh / "tokenizer.json").write_text(trunk.tokenizer_json, encoding="utf-8")
            files["tokenizer_config.json"] = _tokenizer_config(trunk)
        for name, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (fresh / name).write_text(text, encoding="utf-8")


def _hf_config(trunk: Any, bare: Any) -> dict[str, Any]:
    """HF's `config.json` of a trunk.

    Raises:
        WeightsError: The file would be read as another trunk.
    """
    family, rules, ours = trunk.family, trunk.family.config, config_of(bare)
    found = {theirs: ours[key] for key, theirs in rules.keys.items()}
    if family.names.position_offset:
        found["max_position_embeddings"] = (
            ours["max_sequence_length"] + family.names.position_offset
        )
    elif trunk.text is not None:
        found["pad_token_id"] = trunk.text.pad_id
    found |= {
        "model_type": family.name,
        rules.activation_key: trunk.architecture.activation,
        rules.epsilon_key: trunk.architecture.layer_norm_epsilon,
        "dtype": "float32",
    }
    if family.names.every_position is not None:
        found["type_vocab_size"] = 1
    again = backbone_config(family, found)
    if wrong := [key for key, value in again.items() if ours.get(key) != value]:
        raise WeightsError(
            f"HF's config of the family {family.name} cannot say `{wrong[0]}` of this trunk: "
            f"{ours.get(wrong[0])!r}"
        )
    return found


def _hf_labels(head: Any) -> dict[str, Any]:
    names = (
        getattr(head, "labels", None) if head.kind in ("classify", "multilabel", "tag") else None
    )
    names = names or [f"LABEL_{number}" for number in range(head.acting()[0].facts["units"])]
    found: dict[str, Any] = {
        "id2label": {str(number): str(name) for number, name in enumerate(names)},
        "label2id": {str(name): number for number, name in enumerate(names)},
    }
    if head.kind in _PROBLEMS:
        found["problem_type"] = _PROBLEMS[head.kind]
    return found


def _tokenizer_config(trunk: Any) -> dict[str, Any]:
    vocabulary = trunk.text.tokenizer
    special = {
        key: next((t for t in tokens if vocabulary.token_to_id(t) is not None), None)
        for key, tokens in _SPECIAL.items()
    }
    inputs = ["input_ids", "attention_mask"]
    if "segment_ids" in trunk.family.inputs:
        inputs.insert(1, "token_type_ids")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": trunk.max_tokens,
        "model_input_names": inputs,
        **{key: token for key, token in special.items() if token is not None},
    }
