"""Training steps in words and on axes: a log counts steps from 0, a reader counts the steps made."""


def steps_made(step: int | None) -> int:
    """Return the training steps made at a logged step; 0 outside a fit.

    >>> steps_made(281), steps_made(None)
    (282, 0)

    Args:
        step: As Lightning and TensorBoard count it, from 0; None outside a fit.
    """
    return 0 if step is None else step + 1


def after_steps(step: int | None) -> str:
    """Return the words for the moment of a logged step.

    >>> after_steps(281), after_steps(0)
    ('after 282 steps', 'after 1 step')

    Args:
        step: As Lightning and TensorBoard count it, from 0; None outside a fit.
    """
    made = steps_made(step)
    return f"after {made} step{'' if made == 1 else 's'}"
