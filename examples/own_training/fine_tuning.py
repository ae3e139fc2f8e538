"""Does warm-up help a tiny transformer that Hugging Face's Trainer trains?

Needs `pip install 'harness[transformers]'`. The model is made from its configuration: nothing is downloaded.
"""

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from harness import Claim, Metric, Suite


class Parity(Dataset):
    """Sequences of twelve bits, whose class is whether the first equals the last."""

    def __init__(self, count, seed):
        self.bits = torch.randint(0, 2, (count, 12), generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.bits)

    def __getitem__(self, i):
        return {"input_ids": self.bits[i], "labels": (self.bits[i][0] == self.bits[i][-1]).long()}


class LogLoss(TrainerCallback):
    """Hands what the Trainer logs to the harness."""

    def __init__(self, log):
        self.log = log

    def on_log(self, args, state, control, logs=None, **rest):
        del args, control, rest
        if "loss" in (logs or {}):
            self.log(state.global_step, loss=float(logs["loss"]))


def fit(trial, log, checkpoint):
    del checkpoint  # a trial is short; a longer one saves what `trainer.save_model` writes
    config = BertConfig(
        vocab_size=2, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=2
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=trial.steps,
            learning_rate=trial.lr,
            warmup_steps=trial.warmup,
            per_device_train_batch_size=trial.batch_size,
            logging_steps=10,
            report_to=[],
            save_strategy="no",
            seed=trial.seed,
            use_cpu=trial.device == "cpu",
            disable_tqdm=True,
        )
        model = BertForSequenceClassification(config)
        trainer = Trainer(model=model, args=arguments, train_dataset=Parity(512, trial.seed), callbacks=[LogLoss(log)])
        trainer.remove_callback(PrinterCallback)  # what is logged goes to the harness
        trainer.train()
        predicted = trainer.predict(Parity(256, trial.seed + 1000))
    return {"accuracy": (predicted.predictions.argmax(-1) == predicted.label_ids).mean()}


suite = Suite(
    train=fit,
    warmup=[0, 20],
    lr=0.003,
    batch_size=32,
    steps=100,
    seed=range(12),
    outcomes={"accuracy": Metric(higher_is_better=True, unit="fraction", low=0, high=1)},
    claims=[Claim.better(20, than=0, by=0.01)],
)
