"""The LightningModule and its metrics."""
