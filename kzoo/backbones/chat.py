"""A trunk's chat template: messages as the one text that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from kzoo.errors import InputError, WeightsError


def is_messages(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    """Whether a prompt is a list of messages rather than a text."""
    return isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) for one in value)


def template_of_folder(folder: Path) -> dict[str, str]:
    """What a folder of HF's says of chats: `template`, `bos_token`, `eos_token`; of them any.

    Raises:
        WeightsError: `tokenizer_config.json` is not JSON.
    """
    settings: Any = {}
    path = folder / "tokenizer_config.json"
    if path.is_file():
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WeightsError(f"{path} is not JSON: {error}") from error
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name
        template = {one["name"]: one["template"] for one in template}.get("default")
    if (folder / "chat_template.jinja").is_file():  # where transformers 5 writes it
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    found = {name: settings.get(name) for name in ("bos_token", "eos_token")}
    texts = {k: v["content"] if isinstance(v, Mapping) else v for k, v in found.items()}
    return {k: v for k, v in {"template": template, **texts}.items() if isinstance(v, str)}


def rendered(chat: Mapping[str, str], messages: Sequence[Mapping[str, Any]], answer: bool) -> str:
    """Messages as a text, by the template: what transformers' `apply_chat_template` gives.

    Args:
        chat: `template`, and the special tokens that it may name.
        messages: Each with `role` and `content`, and whatever else the template reads.
        answer: Whether the assistant's turn is opened at the end.

    Raises:
        InputError: There is no template, or it refuses the messages.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(reason: str) -> None:
        raise jinja2.TemplateError(reason)

    if "template" not in chat:
        raise InputError(
            "The trunk has no chat template (in `tokenizer_config.json`, `chat_template.jinja` or "
            "the GGUF file). Pass texts."
        )
    if not messages or not all({"role", "content"} <= set(message) for message in messages):
        raise InputError(
            "Messages are dicts with `role` and `content`, at least one: "
            f"[{{'role': 'user', 'content': 'Hello'}}]. Received: {list(messages)!r:.200}"
        )
    # A template comes with the weights, from anybody: it may compute, and reach nothing.
    room = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    room.globals["raise_exception"] = refuse
    room.filters["tojson"] = lambda value, **kw: json.dumps(value, **{"ensure_ascii": False, **kw})
    known = {name: chat.get(name, "") for name in ("bos_token", "eos_token")}
    try:
        return room.from_string(chat["template"]).render(
            messages=list(messages), add_generation_prompt=answer, **known
        )
    except jinja2.TemplateError as error:
        raise InputError(f"The chat template refuses the messages: {error}") from error
