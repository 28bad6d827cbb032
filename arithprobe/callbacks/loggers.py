"""Images for loggers."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger


def takes_images(logger: Logger) -> bool:
    """Whether :func:`log_image` can give this logger an image."""
    return isinstance(logger, (TensorBoardLogger, MLFlowLogger)) or hasattr(logger, "log_image")


def log_image(logger: Logger, name: str, image: npt.NDArray[np.uint8], step: int) -> None:
    """Give an image to a logger.

    TensorBoard gets it under IMAGES; MLflow as the artifact ``<name>/<step>.png``; W&B, and any other logger that has
    ``log_image(key, images, step)``, through that method.

    Args:
        logger: A logger that :func:`takes_images` accepts.
        name: The tag of the image.
        image: (height, width, 3) uint8.
        step: The step that it belongs to.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, image, step, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        place = re.sub(r"[^\w./@-]", "_", name)  # the name of a file, on any machine
        logger.experiment.log_image(logger.run_id, image, f"{place}/{step:06d}.png")
    else:
        giver: Any = logger
        giver.log_image(name, [image], step)


def tensorboard(trainer: Trainer) -> Iterator[Any]:
    """The TensorBoard writers of the run."""
    return (logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger))
