"""Chat messages become what transformers makes of them."""

import json

import pytest
import transformers

from kzoo.backbones.chat import rendered, template_of_folder
from kzoo.errors import InputError
from tests.models.test_generator import make_generator

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] | trim + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TURNS = """{{ bos_token }}{% for m in messages %}
    {%- if loop.index0 % 2 != (m.role == 'assistant') | int %}
        {{- raise_exception('roles must take turns') }}
    {%- endif %}
    {%- if loop.index0 > 6 %}{% break %}{% endif %}
[{{ m.role }}] {{ m | tojson }}{{ eos_token }}
{% endfor %}"""
TALK = [
    {"role": "user", "content": " Was heißt <b>Hallo</b>? "},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "Und das?"},
]


@pytest.mark.parametrize("template", [CHATML, TURNS])
@pytest.mark.parametrize("as_file", [False, True])
def test_equal_to_transformers(template, as_file, minilm_folder, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(minilm_folder))
    tokenizer.chat_template = template
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    tokenizer.save_pretrained(tmp_path)
    if not as_file:  # as transformers 4 wrote it
        (tmp_path / "chat_template.jinja").unlink()
        path = tmp_path / "tokenizer_config.json"
        settings = json.loads(path.read_text("utf-8"))
        several = [{"name": "tool", "template": "x"}, {"name": "default", "template": template}]
        path.write_text(json.dumps({**settings, "chat_template": several}), "utf-8")
    chat = template_of_folder(tmp_path)
    for answer in (True, False):
        expected = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=answer)
        assert rendered(chat, TALK, answer) == expected
    if template == TURNS:
        with pytest.raises(InputError, match="refuses the messages: roles must take turns"):
            rendered(chat, TALK[1:], True)


def test_what_is_refused():
    with pytest.raises(InputError, match="no chat template"):
        rendered({}, TALK, True)
    for wrong in ([], [{"role": "user"}]):
        with pytest.raises(InputError, match="dicts with `role` and `content`"):
            rendered({"template": CHATML}, wrong, True)
    for hostile in ("{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}", "{% if %}"):
        with pytest.raises(InputError, match="refuses the messages"):
            rendered({"template": hostile + "{{ ''.__class__.__mro__[0] }}"}, TALK, True)


def test_generation_takes_messages():
    model = make_generator()
    with pytest.raises(InputError, match="no chat template"):
        model.generate([[{"role": "user", "content": "ab"}]], max_new_tokens=2)
    model.trunk.chat.value["template"] = "{% for m in messages %}{{ m.content }}c{% endfor %}"
    messages = [{"role": "user", "content": "ab"}]
    assert model.chat_text(messages) == "abc"
    expected = model.generate(["abc", "ba"], max_new_tokens=4)
    assert model.generate([messages, "ba"], max_new_tokens=4) == expected
    assert model.score([messages], [["a"]])[0] == model.score(["abc"], [["a"]])[0]
    assert "".join(model.stream(messages, max_new_tokens=4)) == expected[0]
    with pytest.raises(InputError, match=r"one list of messages; pass a list of such lists"):
        model.generate(messages)
    again = type(model.trunk).from_config(model.trunk.get_config())
    assert again.chat.value == model.trunk.chat.value
