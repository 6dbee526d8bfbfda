"""Watch a training: a figure that redraws in place for people, plain lines everywhere else."""

import time

from helpers import show


class Monitor:
    """Show how a training goes: progress, loss and validation score beside the baseline.

    Args:
        name: of the model that is trained.
        first: step to start at, which is not 0 when a training is continued.
        steps: of the whole training.
        score: column of the history to show.
        baseline: the score to beat, or None.
    """

    def __init__(self, name, *, first, steps, score, baseline):
        self.name, self.steps, self.score, self.baseline = name, steps, score, baseline
        self.bar, self.drawn = None, 0.0
        if not show.is_static():
            from IPython.display import display
            from tqdm.auto import tqdm

            self.bar = tqdm(total=steps, initial=first, desc=name, unit="step", mininterval=0.5)
            self.display = display(display_id=True)

    def step(self, step):
        """Count one training step."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def report(self, history):
        """Show the newest row of the history, a list of dict with `step`, `loss` and the score."""
        row = history[-1]
        if self.bar is None:
            told = f"{self.name}: step {row['step']}/{self.steps} · loss {row['loss']:.5f}"
            if self.score in row:
                told += f" · validation {self.score} {row[self.score]:.3f}"
                told += "" if self.baseline is None else f" (baseline {self.baseline:.3f})"
            print(told, flush=True)
        elif time.monotonic() - self.drawn > 1:  # a tab that is redrawn all the time freezes
            self.drawn = time.monotonic()
            self.display.update(self._figure(history))

    def end(self, history):
        """Draw the last state and keep it."""
        if self.bar is not None:
            self.bar.close()
            self.display.update(self._figure(history))

    def _figure(self, history):
        steps = [row["step"] for row in history]
        lines = {"step": steps, self.name: [row.get(self.score) for row in history]}
        return show.curves(lines, baseline=self.baseline, ylabel=f"validation {self.score}")
