"""Prefix, prompt and P-tuning compute what HF PEFT computes from the same numbers."""

import numpy as np
import pytest
from test_peft import SIZES, sequence

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.families import family_of
from kzoo.backbones.loading import load_pretrained

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

P = 4


def hf_model(family):
    """A random HF model, in evaluation mode; PEFT wraps its modules for good, so each time anew."""
    torch.manual_seed(0)
    if family == "bert":
        model = transformers.BertModel(transformers.BertConfig(**SIZES))
    elif family == "gpt2":
        model = transformers.GPT2Model(
            transformers.GPT2Config(
                vocab_size=60, n_layer=2, n_head=4, n_embd=16, n_positions=40, initializer_range=0.3
            )
        )
    else:
        sizes = {**SIZES, "num_key_value_heads": 2, "tie_word_embeddings": True}
        model = transformers.LlamaModel(transformers.LlamaConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama"])
def pair(request, tmp_path_factory):
    """(family, our backbone of the same weights)."""
    import keras_hub

    folder = tmp_path_factory.mktemp(request.param)
    model = hf_model(request.param)
    if request.param == "llama":  # KerasHub reads checkpoints of the whole language model
        whole = transformers.LlamaForCausalLM(model.config)
        whole.model = model
        whole.tie_weights()
        model = whole
    model.save_pretrained(folder)
    if request.param == "bert":
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123))]
        (folder / "vocab.txt").write_text("\n".join(tokens))
        return request.param, load_pretrained(str(folder)).backbone
    return request.param, keras_hub.models.Backbone.from_preset(str(folder))


def run_both(pair, peft_config, spec, give, **more):
    """Hidden states of the real tokens from PEFT and from us, and the plain ones."""
    family, backbone = pair
    reference = peft.get_peft_model(hf_model(family), peft_config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if "prompt_encoder" in name:
                parameter.add_(0.5 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 30, (3, 9)).astype("int32")
    mask = np.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        inputs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), **more}
        theirs = reference(**inputs)
        expected = theirs.last_hidden_state.numpy()
    sites = Sites(family_of(backbone).places(backbone))
    (first, *_) = layers = sites.add("a", parse_adapter(spec))
    give(sites.variables("a"), reference.prompt_encoder["default"], reference)
    virtual = first.virtual_tokens().ids if hasattr(first, "virtual_tokens") else np.empty(0, int)
    front = np.tile(virtual, (3, 1)).astype("int32")
    ours = {
        "token_ids": np.concatenate([front, ids], 1),
        "padding_mask": np.concatenate([np.ones_like(front), mask], 1),
    }
    if family == "bert":
        ours["segment_ids"] = np.zeros_like(ours["token_ids"])
    sites.activate("a")
    found = sequence(backbone(ours))
    sites.activate(None)
    plain = sequence(backbone({key: value[:, len(virtual) :] for key, value in ours.items()}))
    sites.remove("a")
    assert layers
    return expected[:, -9:][mask > 0], found[:, -9:][mask > 0], plain[mask > 0]


def options(**more):
    return {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": P, **more}


def test_prompt_tuning(pair):
    def give(variables, encoder, _):
        variables["token_embedding.prompt"].assign(encoder.embedding.weight.detach().numpy())

    config = peft.PromptTuningConfig(**options())
    spec = f"prompt[num_virtual_tokens={P},position=start]"
    expected, found, plain = run_both(pair, config, spec, give)
    assert np.abs(expected - plain).max() > 0.1  # the prompt acts
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pair", ["bert"], indirect=True)
@pytest.mark.parametrize("encoder", ["mlp", "lstm"])
def test_p_tuning(pair, encoder):
    def give(variables, module, _):
        weights = {key: value.numpy() for key, value in module.state_dict().items()}
        values = {"embedding": weights["embedding.weight"]}
        linear = sorted({key.split(".")[1] for key in weights if key.startswith("mlp_head")})
        for number, name in enumerate(linear):
            values[f"dense{number}_kernel"] = weights[f"mlp_head.{name}.weight"].T
            values[f"dense{number}_bias"] = weights[f"mlp_head.{name}.bias"]
        for number in range(2 if encoder == "lstm" else 0):
            for ours, theirs in (
                ("kernel", "weight_ih"),
                ("recurrent_kernel", "weight_hh"),
                ("bias", "bias_ih"),
                ("recurrent_bias", "bias_hh"),
            ):
                both = [weights[f"lstm_head.{theirs}_l{number}{way}"].T for way in ("", "_reverse")]
                values[f"lstm{number}_{ours}"] = np.stack(both)
        assert {f"token_embedding.{key}" for key in values} == set(variables)
        for key, value in values.items():
            variables[f"token_embedding.{key}"].assign(value)

    config = peft.PromptEncoderConfig(
        **options(encoder_reparameterization_type=encoder.upper(), encoder_hidden_size=6)
    )
    spec = f"ptuning[num_virtual_tokens={P},position=start,encoder={encoder},bottleneck=6]"
    expected, found, plain = run_both(pair, config, spec, give)
    assert np.abs(expected - plain).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("projection", "shifted"), [(False, True), (True, True), (False, False)])
def test_prefix_tuning(pair, projection, shifted):
    family, _ = pair
    width = 8 if family == "llama" else 16

    def give(variables, encoder, reference):
        flat = reference.get_prompt_embedding_to_save("default").detach().numpy()
        keys_and_values = flat.reshape(P, 2, 2, *variables_shape(variables, width))
        if not projection:
            for block in (0, 1):
                for number, name in enumerate(("prefix_key", "prefix_value")):
                    variables[f"blocks.{block}.attention.{name}"].assign(
                        keys_and_values[:, block, number]
                    )
            return
        weights = {key: value.numpy() for key, value in encoder.state_dict().items()}
        variables["shared.embedding"].assign(weights["embedding.weight"])
        variables["shared.hidden_kernel"].assign(weights["transform.0.weight"].T)
        variables["shared.hidden_bias"].assign(weights["transform.0.bias"])
        for block in (0, 1):
            own = slice(2 * width * block, 2 * width * (block + 1))
            place = f"blocks.{block}.attention"
            kernel = weights["transform.2.weight"][own].T
            variables[f"{place}.output_kernel"].assign(kernel)
            variables[f"{place}.output_bias"].assign(weights["transform.2.bias"][own])

    more = {"prefix_projection": projection, "encoder_hidden_size": 6}
    config = peft.PrefixTuningConfig(**options(**more))
    spec = f"prefix[num_virtual_tokens={P},shift_positions={shifted},projection={projection}"
    # PEFT adds P to positions that are passed; minus P are the unshifted ones of AdapterHub.
    more = {} if shifted else {"position_ids": torch.arange(9)[None] - P}
    expected, found, plain = run_both(pair, config, spec + ",bottleneck=6]", give, **more)
    assert np.abs(expected - plain).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def variables_shape(variables, width):
    """(heads, head width) of the keys."""
    for key, variable in variables.items():
        if key.endswith("prefix_key"):
            return tuple(variable.shape[1:])
    return (width // 4, 4)


@pytest.mark.parametrize("pair", ["bert"], indirect=True)
def test_prompt_behind_the_embedding_block(pair):
    """AdapterHub's insertion: no positions, segments or norm for the prompt."""
    _, backbone = pair
    model = hf_model("bert")
    ids = np.random.default_rng(0).integers(4, 30, (3, 9)).astype("int32")
    sites = Sites(family_of(backbone).places(backbone))
    for position, first in (("start", 0), ("after_cls", 1)):
        spec = f"prompt[num_virtual_tokens={P},insertion=embeddings,position={position}]"
        virtual = sites.add("a", parse_adapter(spec))[0].virtual_tokens().ids
        prompt = np.random.default_rng(1).normal(size=(P, 16)).astype("float32")
        sites.variables("a")["embeddings_norm.prompt"].assign(prompt)
        with torch.no_grad():
            embedded = model.embeddings(torch.tensor(ids))
            rows = torch.tensor(prompt).expand(3, P, 16)
            whole = torch.cat((embedded[:, :first], rows, embedded[:, first:]), dim=1)
            expected = model.encoder(whole).last_hidden_state.numpy()
        with_prompt = np.insert(ids, [first] * P, virtual, axis=1)
        inputs = {"token_ids": with_prompt, "padding_mask": np.ones_like(with_prompt)}
        sites.activate("a")
        found = sequence(backbone({**inputs, "segment_ids": np.zeros_like(with_prompt)}))
        sites.remove("a")
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pair", ["bert"], indirect=True)
def test_multitask_prompts(pair):
    """The rows of each task; PEFT takes them into the input as those of prompt tuning."""
    _, backbone = pair
    config = peft.MultitaskPromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=P, num_tasks=3, num_ranks=2
    )
    whole = transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES))
    module = peft.get_peft_model(whole, config).prompt_encoder["default"]
    sites = Sites(family_of(backbone).places(backbone))
    (layer,) = sites.add("a", parse_adapter(f"mpt[num_virtual_tokens={P},num_tasks=3,num_ranks=2]"))
    layer.prompt.assign(module.embedding.weight.detach().numpy())
    layer.task_cols.assign(module.prefix_task_cols.detach().numpy())
    layer.task_rows.assign(module.prefix_task_rows.detach().numpy())
    for task in range(3):
        with torch.no_grad():
            expected = module(torch.arange(P)[None], torch.tensor([task]))[0].numpy()
        virtual = layer.virtual_tokens(task)
        found = np.asarray(backbone.token_embedding(virtual.ids[None]))[0]
        assert np.abs(expected).max() > 1e-6
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    sites.remove("a")


@pytest.mark.parametrize("pair", ["gpt2"], indirect=True)
def test_trainable_tokens_with_tied_logits(pair):
    _, backbone = pair
    model = transformers.GPT2LMHeadModel(hf_model("gpt2").config)
    model.transformer = hf_model("gpt2")
    model.tie_weights()
    indices = [7, 3, 20]
    config = peft.TrainableTokensConfig(
        token_indices=indices, target_modules=["wte"], init_weights=False
    )
    reference = peft.get_peft_model(model, config).eval()
    ids = np.random.default_rng(0).integers(0, 30, (3, 9)).astype("int32")
    with torch.no_grad():
        expected = reference(input_ids=torch.tensor(ids)).logits.numpy()
        with reference.disable_adapter():
            plain = reference(input_ids=torch.tensor(ids)).logits.numpy()
    sites = Sites(family_of(backbone).places(backbone))
    (layer,) = sites.add("a", parse_adapter({"method": "tokens", "indices": indices}))
    table = backbone.token_embedding

    def logits():
        inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        return np.asarray(table(backbone(inputs), reverse=True))

    sites.activate("a")
    np.testing.assert_allclose(logits(), plain, atol=1e-5)  # untrained: an identity
    wte = reference.base_model.model.transformer.wte
    layer.rows.assign(wte.trainable_tokens_delta["default"].detach().numpy())
    assert np.abs(expected - plain).max() > 0.1
    np.testing.assert_allclose(logits(), expected, atol=2e-5)
    [(variable, merged)] = layer.merged()
    sites.remove("a")
    before = np.asarray(variable)
    variable.assign(merged)
    np.testing.assert_allclose(logits(), expected, atol=2e-5)
    variable.assign(before)
