"""What an analysis says, once: blocks that the terminal, the page, a notebook and TensorBoard read."""
