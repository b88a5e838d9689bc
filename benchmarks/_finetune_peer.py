"""Worker: the same training with transformers' `Trainer`, and HF PEFT for LoRA.

The model is kzoo's in torch: the same trunk weights through `AutoModel`, mean over the real
tokens, dropout 0.1, one dense layer with the same initial distribution. See `_compare.run_worker`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _clock import Clock
from _compare import Result, serve
from _tasks import METHODS, load_task, scores, trunk_folder

from kzoo.zoo.catalogue import find_recipe


def work(request: dict[str, Any]) -> Result:
    """Trains and scores one model.

    Args:
        request: The options of `finetune.py`, and `group_by_length`, `trunk_dropout`, `seed`.

    Returns:
        As `_finetune_kzoo.work`.
    """
    import torch
    from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    data = load_task(request["dataset"], request["data"], request["variant"], request["limit"])
    training = find_recipe(METHODS[request["method"]]).training
    folder = trunk_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = make_model(folder, data.num_classes, request)

    def rows(split: Any) -> list[dict[str, Any]]:
        columns = [split.texts] if split.text_pairs is None else [split.texts, split.text_pairs]
        limit = request["max_tokens"] or 256  # the zoo entry's
        ids = tokenizer(*columns, truncation=True, max_length=limit)
        keys = list(ids)
        return [
            {**{key: ids[key][i] for key in keys}, "labels": int(label)}
            for i, label in enumerate(split.labels)
        ]

    class Ends(TrainerCallback):
        """Tells the clock."""

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.step()

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            clock.epoch()

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out,
            num_train_epochs=request["epochs"] or training.epochs,
            per_device_train_batch_size=request["batch_size"] or training.batch_size,
            per_device_eval_batch_size=64,
            learning_rate=request["learning_rate"] or training.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=training.warmup,
            optim="adamw_torch",
            weight_decay=training.weight_decay,
            adam_epsilon=1e-7,  # Keras'
            max_grad_norm=training.clip_norm,
            train_sampling_strategy="group_by_length" if request["group_by_length"] else "random",
            seed=request["seed"],
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            label_names=["labels"],
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        clock = Clock()
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows(data["train"]),
            processing_class=tokenizer,
            callbacks=[Ends()],
        )
        found = trainer.train()
        answer = clock.stop() | {
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "learning_rate": arguments.learning_rate,
            "train_loss": float(found.training_loss),
        }
        for name in ("validation", "test"):
            # Grouping by length reorders these rows too: the labels have to come from there.
            output = trainer.predict(rows(data[name]))
            labels, logits = np.asarray(output.label_ids), np.asarray(output.predictions)
            values = scores(request["dataset"], labels, logits)
            answer |= {f"{name}_{key}": value for key, value in values.items()}
    return answer


def make_model(folder: Path, num_classes: int | None, request: dict[str, Any]) -> Any:
    """Trunk, mean pooling, dropout, dense; only what the method trains is trainable."""
    import torch
    from transformers import AutoModel

    class Classifier(torch.nn.Module):
        """What `kzoo.TextClassifier` is."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk = AutoModel.from_pretrained(folder, add_pooling_layer=False)
            self.dropout = torch.nn.Dropout(0.1)
            self.head = torch.nn.Linear(self.trunk.config.hidden_size, num_classes)
            torch.nn.init.normal_(self.head.weight, std=0.02)
            torch.nn.init.zeros_(self.head.bias)

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any, **others: Any) -> Any:
            tokens = self.trunk(input_ids, attention_mask=attention_mask, **others)[0]
            real = attention_mask.unsqueeze(-1).to(tokens.dtype)
            vectors = (tokens * real).sum(1) / real.sum(1)
            logits = self.head(self.dropout(vectors))
            loss = torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    model: Any = Classifier()
    if request["method"] == "full":
        return model
    model.trunk.requires_grad_(False)
    if not request["trunk_dropout"]:
        for module in model.trunk.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_prob"):
                module.dropout_prob = 0.0
    if request["method"] == "linear":
        return model
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=request["rank"],
        lora_alpha=request["alpha"],
        lora_dropout=0.0,
        target_modules=["query", "value"],
        modules_to_save=["head"],
    )
    return get_peft_model(model, config)


if __name__ == "__main__":
    serve(work)
