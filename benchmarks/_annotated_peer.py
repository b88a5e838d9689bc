"""Worker: the same training with transformers' `Trainer` and HF PEFT. See `_compare.run_worker`."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from _clock import Clock
from _compare import Result, serve
from _tasks import trunk_folder
from annotated import load_rows, make_model


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
    head = model.head
    head.learn(_objects(rows["train"][1]))
    tags = request["task"] == "slots"
    kind = "TokenClassification" if tags else "QuestionAnswering"
    made = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
        trunk_folder(),
        **({"num_labels": head.units} if tags else {}),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **({"classifier_dropout": 0.1} if tags else {}),
    )
    training = model.training_settings
    config = LoraConfig(
        r=8 if tags else 16,
        lora_alpha=16 if tags else 32,
        target_modules=["query", "value"] if tags else "all-linear",
        modules_to_save=["classifier" if tags else "qa_outputs"],
    )
    made = get_peft_model(made, config)

    def items(split: str) -> tuple[list[dict[str, Any]], Any]:
        texts, labels = rows[split]
        (part,) = model.reads["text"].encode(texts)
        windows = part.windows
        # Other splits are scored by what is read off; they may have tags never seen in training.
        targets = head.align(_objects(labels), windows) if split == "train" else None
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
        longest = max(len(item["input_ids"]) for item in found)
        outputs = np.zeros((len(found), longest, head.units), "float32")
        with torch.no_grad():
            for number, item in enumerate(found):
                inputs = {k: torch.tensor([item[k]]) for k in list(item)[:3]}
                logits = made(**inputs)
                own = logits.logits if tags else torch.stack([logits[0], logits[1]], -1)
                outputs[number, : own.shape[1]] = own[0].numpy()
        scores = head.value_scores(rows[name][1], head.read_off(outputs, windows))
        answer |= {f"{name}_{key}": 100 * value for key, value in scores.items()}
    return answer


def _objects(labels: list[Any]) -> Any:
    return np.fromiter(labels, object, len(labels))


if __name__ == "__main__":
    serve(work)
