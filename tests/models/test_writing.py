"""generate, stream and score: values of HF transformers, of whole passes, and of rows alone."""

import keras_hub
import numpy as np
import pytest

import kzoo
from kzoo.errors import InputError
from kzoo.models.sampling import Rules, Sampling
from tests.models.letters import LETTERS

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

PROMPTS = ["one two three four", "a", "red", "one two"]


@pytest.fixture(scope="module", params=["llama", "gpt2", "t5"])
def pair(request, tmp_path_factory):
    """A model of kzoo and the one of HF that it was read from, with sharp random weights."""
    torch.set_num_threads(1)
    return make_pair(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return make_pair("gpt2", tmp_path_factory.mktemp("gpt2"))[0]


def make_pair(kind, folder):
    import tokenizers

    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    config, cls, recipe = {
        "llama": lambda: (
            transformers.LlamaConfig(
                **sizes,
                intermediate_size=24,
                num_key_value_heads=1,
                tie_word_embeddings=True,
                **ends,
            ),
            transformers.LlamaForCausalLM,
            "llama-lora",
        ),
        "gpt2": lambda: (
            transformers.GPT2Config(
                vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=48, **ends
            ),
            transformers.GPT2LMHeadModel,
            "gpt2-lora",
        ),
        "t5": lambda: (
            transformers.T5Config(
                vocab_size=40,
                d_model=16,
                num_layers=2,
                num_heads=2,
                d_kv=8,
                d_ff=24,
                decoder_start_token_id=0,
                pad_token_id=0,
                eos_token_id=1,
            ),
            transformers.T5ForConditionalGeneration,
            "t5-adapter",
        ),
    }[kind]()
    torch.manual_seed(0)
    peer = cls(config).eval()
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape) * (1.0 if "embed" in name else 0.6))
    peer.save_pretrained(folder)
    special = ["<pad>", "</s>", "<unk>"]
    words = {word: number for number, word in enumerate([*special, *LETTERS])}
    words |= {chr(0x3B1 + n): n for n in range(len(words), 40)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    return kzoo.load(recipe, backbone=str(folder), max_tokens=40), peer


def of_peer(model, peer, prompt, **settings):
    """HF's completions of one prompt."""
    ids = torch.tensor([model.text.tokenizer.encode(prompt).ids])
    if settings.get("max_new_tokens") is None:
        settings["max_new_tokens"] = 8
    with torch.no_grad():
        found = peer.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **settings
        )
    begin = 1 if peer.config.is_encoder_decoder else ids.shape[1]
    return [model.text.tokenizer.decode(row[begin:].tolist()) for row in found]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"repetition_penalty": 1.7}, {"repetition_penalty": 1.7}),
        ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
        (
            {"sampler": keras_hub.samplers.BeamSampler(3), "repetition_penalty": 1.3},
            {"num_beams": 3, "repetition_penalty": 1.3},
        ),
        (
            {"sampler": keras_hub.samplers.BeamSampler(3), "num_return_sequences": 3},
            {"num_beams": 3, "num_return_sequences": 3},
        ),
    ],
    ids=["greedy", "penalty", "n-grams", "beams", "all beams"],
)
def test_completions_are_those_of_hf_whatever_the_neighbours(pair, ours, theirs):
    """Each prompt alone in HF; all of them in one batch here, with other lengths beside it."""
    model, peer = pair
    found = model.generate(PROMPTS, max_new_tokens=8, **ours)
    expected = [of_peer(model, peer, prompt, **theirs) for prompt in PROMPTS]
    if "num_return_sequences" not in ours:
        expected = [texts[0] for texts in expected]
    assert found == expected
    assert len({str(text) for text in found}) > 1


def test_one_trace_each_for_all_lengths_and_settings(gpt2):
    decoding = gpt2.decoding()
    gpt2.generate(["one"], max_new_tokens=3)
    before = decoding.traces
    gpt2.generate(["one two three", "a"], max_new_tokens=17)
    for temperature in (0.5, 2.0):
        sampler = keras_hub.samplers.TopKSampler(4, temperature=temperature)
        gpt2.generate(["red"], max_new_tokens=5, sampler=sampler, seed=3)
    gpt2.generate(["a", "bcd"], max_new_tokens=2, sampler="beam", num_return_sequences=2)
    list(gpt2.stream("one", max_new_tokens=4, sampler="top_p"))
    assert decoding.traces == before
    gpt2.adapters.deactivate()
    gpt2.generate(["one"], max_new_tokens=3)
    assert decoding.traces == before + 2  # prefill and step of what acts now
    gpt2.adapters.activate("default")


@pytest.mark.parametrize("sampler", ["top_k", "top_p", "random"])
def test_draws_depend_on_the_seed_and_the_prompt_only(gpt2, sampler):
    settings = {"max_new_tokens": 12, "sampler": sampler}
    if sampler == "top_p":
        settings["sampler"] = keras_hub.samplers.TopPSampler(0.95)
    found = gpt2.generate(PROMPTS, seed=5, **settings)
    assert gpt2.generate(PROMPTS[::-1], seed=5, **settings) == found[::-1]
    assert [gpt2.generate([p], seed=5, **settings)[0] for p in PROMPTS] == found
    assert gpt2.generate(PROMPTS, seed=6, **settings) != found
    several = gpt2.generate(PROMPTS, seed=5, num_return_sequences=3, **settings)
    assert [own[0] for own in several] == found
    assert len(set(several[0])) > 1
    assert gpt2.generate([PROMPTS[0]] * 3, seed=5, **settings) == several[0]


def test_chances_are_those_of_hf():
    """Kept tokens and their probabilities; draws have these frequencies."""
    logits = np.random.default_rng(0).normal(0, 2, 50).astype("float32")
    for ours, theirs in [
        (keras_hub.samplers.TopKSampler(7, temperature=0.7), transformers.TopKLogitsWarper(7)),
        (keras_hub.samplers.TopPSampler(0.8, temperature=0.7), transformers.TopPLogitsWarper(0.8)),
    ]:
        expected = theirs(None, torch.tensor(logits)[None] / 0.7).softmax(-1)[0].numpy()
        sampling = Sampling.of(ours)
        tokens, chances = sampling.chances(logits)
        found = np.zeros(50)
        found[tokens] = chances
        np.testing.assert_allclose(found, expected, atol=1e-6)
        draw = np.random.default_rng(1)
        drawn = [sampling.choose(logits, draw) for _ in range(4000)]
        assert np.abs(np.bincount(drawn, minlength=50) / 4000 - expected).max() < 0.03


def test_rules_are_those_of_hf():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3):
        ids, logits = rng.integers(0, 4, 15).astype("int32"), rng.normal(0, 1, 6).astype("float32")
        row, given = torch.tensor(ids[None].astype("int64")), torch.tensor(logits[None])
        expected = transformers.RepetitionPenaltyLogitsProcessor(1.4)(row, given.clone())
        expected = transformers.NoRepeatNGramLogitsProcessor(size)(row, expected)[0].numpy()
        np.testing.assert_allclose(Rules(1.4, size).apply(logits, ids), expected, rtol=1e-6)


def test_stops_and_streams(gpt2):
    # Drawn, for a text that is long enough.
    drawn = {"sampler": "random", "max_new_tokens": 15}
    seed = next(n for n in range(50) if len(gpt2.generate(["one two"], seed=n, **drawn)[0]) > 12)
    drawn["seed"] = seed
    whole = gpt2.generate(["one two"], **drawn)[0]
    stop = whole[4:7]
    (cut,) = gpt2.generate(["one two"], stop=["?!", stop], **drawn)
    assert cut == whole[: whole.index(stop)]
    for settings, expected in [({}, whole), ({"stop": stop}, cut)]:
        pieces = list(gpt2.stream("one two", **drawn, **settings))
        assert "".join(pieces) == expected
        assert len(pieces) > 1
    with pytest.raises(InputError, match="no beams"):
        next(gpt2.stream("one", sampler="beam"))


def test_long_prompts_lose_their_beginning(gpt2):
    with pytest.warns(UserWarning, match=r"1 of 2 `prompts` were cut"):
        found = gpt2.generate(["b" * 20 + "a" * 30, "one"], max_new_tokens=12)
    assert found == gpt2.generate(["a" * 28, "one"], max_new_tokens=12)


def test_scores_are_hfs(pair):
    model, peer = pair
    choices = [["ab", "c"], ["one"], [" two", "a", "bcd"], ["x"]]
    found = model.score(PROMPTS, choices, batch_size=3)
    assert [len(own) for own in found] == [2, 1, 3, 1]
    encode = model.text.tokenizer.encode
    for prompt, own, values in zip(PROMPTS, choices, found, strict=True):
        for text, value in zip(own, values, strict=True):
            opening, behind = encode(prompt).ids, encode(text).ids
            if peer.config.is_encoder_decoder:
                ids, written = torch.tensor([opening]), torch.tensor([[0, *behind]])
                logits = peer(input_ids=ids, decoder_input_ids=written).logits[0, :-1]
            else:
                ids = torch.tensor([[*opening, *behind]])
                logits = peer(input_ids=ids).logits[0, len(opening) - 1 : -1]
            chances = logits.log_softmax(-1)[range(len(behind)), behind]
            assert value == pytest.approx(float(chances.sum()), abs=2e-3)
    with pytest.raises(InputError, match="at least one token"):
        model.score(["one"], [[""]])


def test_each_row_has_its_own_adapter(pair):
    """Rows of one batch are written and scored as with that adapter alone."""
    model, peer = pair
    if peer.config.model_type == "gpt2":
        pytest.skip("a decoder and an encoder-decoder do: each adapter is traced anew")
    names = ["default", "other", "__base__", "other"]
    model.adapters.add("other", "lora[r=2]")
    rng = np.random.default_rng(0)
    for name in ("default", "other"):
        for variable in model.adapters.variables(name).values():
            variable.assign(rng.normal(0, 0.5, variable.shape))
    expected, scores = [""] * 4, np.zeros((4, 2))
    for name in dict.fromkeys(names):
        model.adapters.deactivate() if name == "__base__" else model.adapters.activate(name)
        rows = [row for row in range(4) if names[row] == name]
        prompts = [PROMPTS[row] for row in rows]
        if not peer.config.is_encoder_decoder:
            scores[rows] = model.score(prompts, [["ab", "c"]] * len(rows))
        for row, text in zip(rows, model.generate(prompts, max_new_tokens=6), strict=True):
            expected[row] = text
    model.adapters.activate(kzoo.PerRow("default", "other"))
    assert model.generate(PROMPTS, max_new_tokens=6, adapter_names=names) == expected
    if not peer.config.is_encoder_decoder:
        found = model.score(PROMPTS, [["ab", "c"]] * 4, adapter_names=names)
        np.testing.assert_allclose(found, scores, atol=1e-3)
    with pytest.raises(InputError, match="must name the adapter of each row"):
        model.generate(PROMPTS)
