"""What happens when: the learning rate, and the events of a step.  The clock is images seen."""

from typing import NamedTuple

from wherewhat.config import Config, OptimizerConfig


class Events(NamedTuple):
    """What is due after a step."""

    log: bool
    preview: bool
    checkpoint: bool


def events_of(config: Config, images_seen: int, last: bool, previews: bool = True) -> Events:
    """Each event is due once every so many images, whatever the batch, and after the last step.  What a preview shows
    is also saved, and what is saved is also logged, so that its losses were checked."""

    def due(every: int) -> bool:
        return last or images_seen // every != (images_seen - config.batch) // every

    preview = previews and due(config.preview_every)
    checkpoint = preview or due(config.checkpoint_every)
    return Events(due(config.log_every) or checkpoint, preview, checkpoint)


def lr_schedule(c: OptimizerConfig, images_seen: int) -> float:
    """Learning rate of the step that ends at this many images: linear warm-up, then exponential decay."""
    decay = 0.5 ** (images_seen / c.lr_halflife) if c.lr_halflife else 1.0
    return c.lr * decay * min(1.0, images_seen / max(c.warmup_images, 1))
