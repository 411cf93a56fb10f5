"""Using a trained model: predict, export, describe."""
