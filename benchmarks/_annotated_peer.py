"""Worker: the same training with transformers' `Trainer` and HF PEFT. See `_compare.run_worker`."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from _clock import Clock
from _compare import Result, serve
from _tasks import trunk_folder
from annotated import load_rows, make_model, score


def work(request: dict[str, Any]) -> Result:
    """Trains and scores one model.

    Args:
        request: As `_annotated_kzoo.work`.

    Returns:
        As `_annotated_kzoo.work`.
    """
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    rows = load_rows(request["task"], request["data"], request["take"])
    model = make_model({**request, "crf": False})  # reads the rows, and reads off the outputs
    joint, tags = request["task"] == "joint", request["task"] != "answers"
    head = model.heads["slots"] if joint else model.head
    labels = {n: part["slots"] if joint else part for n, (_, part) in rows.items()}
    texts = {n: part["text"] if joint else part for n, (part, _) in rows.items()}
    head.learn(_objects(labels["train"]))
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    intents: list[str] = []
    if joint:
        intents = sorted(set(rows["train"][1]["intent"]))
        made = two_heads(head.units, len(intents), plain)
    elif tags:
        made = transformers.AutoModelForTokenClassification.from_pretrained(
            trunk_folder(), num_labels=head.units, classifier_dropout=0.1, **plain
        )
    else:
        made = transformers.AutoModelForQuestionAnswering.from_pretrained(trunk_folder(), **plain)
    training = model.training_settings
    config = LoraConfig(
        r=8 if tags else 16,
        lora_alpha=16 if tags else 32,
        target_modules=["query", "value"] if tags else "all-linear",
        modules_to_save=["classifier", *(["intents"] * joint)] if tags else ["qa_outputs"],
    )
    made = get_peft_model(made, config)

    def items(split: str) -> tuple[list[dict[str, Any]], Any]:
        (part,) = model.reads["text"].encode(texts[split])
        windows = part.windows
        # Other splits are scored by what is read off; they may have tags never seen in training.
        targets = head.align(_objects(labels[split]), windows) if split == "train" else None
        found = []
        for window in range(len(windows.encoded)):
            own = windows.tokens(window)
            item: dict[str, Any] = {
                "input_ids": windows.encoded.ids[own].tolist(),
                "token_type_ids": windows.encoded.segments[own].tolist(),
                "attention_mask": [1] * (own.stop - own.start),
            }
            if targets is not None:
                label = targets(np.asarray([window]), own.stop - own.start)[0][0]
                if joint:
                    own_row = rows[split][1]["intent"][windows.encoded.places.rows[window]]
                    item["intent"] = intents.index(own_row)
                if tags:
                    item["labels"] = np.where(label < 0, -100, label).tolist()
                else:
                    item |= {"start_positions": int(label[0]), "end_positions": int(label[1])}
            found.append(item)
        return found, windows

    class Ends(transformers.TrainerCallback):
        """Tells the clock."""

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.step()

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            clock.epoch()

    tokenizer = transformers.AutoTokenizer.from_pretrained(trunk_folder())
    collator = "DataCollatorForTokenClassification" if tags else "DataCollatorWithPadding"
    train, _ = items("train")
    with tempfile.TemporaryDirectory() as out:
        arguments = transformers.TrainingArguments(
            output_dir=out,
            num_train_epochs=request["epochs"],
            per_device_train_batch_size=request["batch_size"],
            per_device_eval_batch_size=32,
            learning_rate=request["learning_rate"],
            lr_scheduler_type="linear",
            warmup_steps=training.warmup,
            optim="adamw_torch",
            weight_decay=training.weight_decay,
            adam_epsilon=1e-7,  # Keras'
            max_grad_norm=training.clip_norm,
            train_sampling_strategy="group_by_length",
            seed=request["seed"],
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        clock = Clock()
        trainer = transformers.Trainer(
            model=made,
            args=arguments,
            train_dataset=train,
            data_collator=getattr(transformers, collator)(tokenizer),
            callbacks=[Ends()],
        )
        trainer.train()
        answer = clock.stop()
    made.eval()
    for name in ("validation", "test"):
        found, windows = items(name)
        chosen = []
        longest = max(len(item["input_ids"]) for item in found)
        outputs = np.zeros((len(found), longest, head.units), "float32")
        with torch.no_grad():
            for number, item in enumerate(found):
                inputs = {k: torch.tensor([item[k]]) for k in list(item)[:3]}
                logits = made(**inputs)
                if joint:
                    chosen.append(intents[int(logits["intents"][0].argmax())])
                own = logits["logits"] if tags else torch.stack([logits[0], logits[1]], -1)
                outputs[number, : own.shape[1]] = own[0].numpy()
        values: Any = head.read_off(outputs, windows)
        if joint:  # none of these rows has several windows
            values = {"slots": values, "intent": chosen}
        answer |= {f"{name}_{k}": v for k, v in score(model, values, rows[name][1]).items()}
    return answer


def two_heads(tags: int, intents: int, options: dict[str, Any]) -> Any:
    """What kzoo's model is: the tokens to tags, their mean to an intent; losses are added."""
    import torch
    from transformers import AutoModel

    class Joint(torch.nn.Module):
        """A trunk under two heads."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk = AutoModel.from_pretrained(
                trunk_folder(), add_pooling_layer=False, **options
            )
            self.dropout = torch.nn.Dropout(0.1)
            for name, size in (("classifier", tags), ("intents", intents)):
                layer = torch.nn.Linear(self.trunk.config.hidden_size, size)
                torch.nn.init.normal_(layer.weight, std=0.02)
                torch.nn.init.zeros_(layer.bias)
                setattr(self, name, layer)

        def forward(
            self,
            input_ids: Any,
            attention_mask: Any,
            token_type_ids: Any,
            labels: Any = None,
            intent: Any = None,
        ) -> Any:
            tokens = self.trunk(input_ids, attention_mask, token_type_ids)[0]
            real = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * real).sum(1) / real.sum(1)
            logits = self.classifier(self.dropout(tokens))
            found = {"logits": logits, "intents": self.intents(self.dropout(mean))}
            if labels is not None:
                entropy = torch.nn.functional.cross_entropy
                loss = entropy(logits.flatten(0, 1), labels.flatten())
                found["loss"] = loss + entropy(found["intents"], intent)
            return found

    return Joint()


def _objects(labels: list[Any]) -> Any:
    return np.fromiter(labels, object, len(labels))


if __name__ == "__main__":
    serve(work)
