"""Images, labels and annotations: one file per layout, transforms, batches."""
