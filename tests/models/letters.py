"""A tokenizer of single letters with a family's special tokens."""

LETTERS = "abcdefghijklmnopqrstuvwxyz "
# Special tokens by id, and what the tokenizer puts around a text.
SPECIAL = {
    "gpt2": (("<|endoftext|>",), "$A"),
    "t5": (("<pad>", "</s>", "<unk>"), "$A </s>"),
    "bart": (("<s>", "<pad>", "</s>"), "<s> $A </s>"),
}
FIRST = 3  # id of the letter a with T5's and BART's special tokens


def letter_id(letter):
    return FIRST + LETTERS.index(letter)


def letter_tokenizer(family="gpt2"):
    """HF tokenizer as JSON text."""
    import tokenizers

    special, template = SPECIAL[family]
    vocabulary = {token: number for number, token in enumerate([*special, *LETTERS])}
    model = tokenizers.models.WordLevel(vocabulary, unk_token=special[-1])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    tokenizer.add_special_tokens(list(special))
    if template != "$A":
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=template,
            pair=f"{template} $B",
            special_tokens=[(token, vocabulary[token]) for token in special],
        )
    return tokenizer.to_str()
