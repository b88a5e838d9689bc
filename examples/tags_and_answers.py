"""Entities in texts, intent and slots by one model, and answers in contexts."""

import kzoo

#: Words and their tags: B- begins an entity, I- goes on with it, O is outside of all.
REQUESTS = {
    "play some jazz by Nina Simone": "O O B-genre O B-artist I-artist",
    "play rock": "O B-genre",
    "I want to hear Nina Simone": "O O O O B-artist I-artist",
    "book a table in Paris": "O O O O B-city",
    "a table for two in New York please": "O O O O O B-city I-city O",
    "is it raining in Paris": "O O O O B-city",
    "weather in New York": "O O B-city I-city",
    "play something by Miles Davis": "O O O B-artist I-artist",
}
INTENTS = ["music", "music", "music", "table", "table", "weather", "weather", "music"]
PAIRS = {
    ("Who wrote it?", "The book was written by Ada in 1843."): "Ada",
    ("When was it written?", "The book was written by Ada in 1843."): "1843",
    ("Who wrote it?", "It was written by Emmy, I think."): "Emmy",
    ("When was it written?", "Emmy wrote it in 1918."): "1918",
}


def main() -> None:
    """A few rows each: enough to see the parts, too few to judge them."""
    words = [text.split() for text in REQUESTS]
    tags = [row.split() for row in REQUESTS.values()]
    tagger = kzoo.load("bert-tagger", learning_rate=5e-3)
    tagger.fit(words, tags, epochs=15, batch_size=4, verbose=0)
    print(f"tags {tagger.head.labels}")
    text = "Please play some  jazz by Miles Davis, in New York."
    (found,) = tagger.predict_values([text], verbose=0)
    for entity in found.entities:  # slices of the text as it was given
        assert text[entity.start : entity.end] == entity.text
    print(f"entities {[(entity.text, entity.label) for entity in found.entities]}")

    # Labels may be entities in characters, too; they need no splitting of the text.
    tagger.fit([text], [[(18, 22, "genre"), (26, 37, "artist"), (42, 50, "city")]], verbose=0)

    # One trunk, two heads: the sentence's intent and its words' slots, each with its own loss.
    trunk = kzoo.Trunk("minilm-l6")
    trunk.adapters.add("requests", "lora[r=8]")
    text_input = kzoo.WordsInput(trunk, name="text")
    states = trunk(text_input)
    heads = [kzoo.heads.Classify(name="intent"), kzoo.heads.Tag(name="slots", crf=True)]
    model = kzoo.Model(text_input, [head(states) for head in heads])
    model.compile(learning_rate=5e-3)
    model.fit({"text": words}, {"intent": INTENTS, "slots": tags}, epochs=15, verbose=0)
    intents, slots = model.predict_values({"text": words}, verbose=0)
    right = sum(a == b for a, b in zip(intents, INTENTS, strict=True))
    print(f"intents right {right} of {len(INTENTS)}; slots of the first {slots[0].tags}")

    # A question and a context; a context that is too long becomes several windows.
    answers = [(context.index(text), text) for (_, context), text in PAIRS.items()]
    reader = kzoo.load("bert-qa", learning_rate=2e-3)
    reader.fit(list(PAIRS), answers, epochs=15, batch_size=4, verbose=0)
    new = ("Who wrote it?", "In 1950 it was written by Alan.")
    (answer,) = reader.predict_values([new], verbose=0)
    assert new[1][answer.start : answer.end] == answer.text
    print(f"answer {answer.text!r}, one of {len(answer.candidates)} candidates")


if __name__ == "__main__":
    main()
