"""Pictures: safe loading, padding, augmentation, dataset readers."""
