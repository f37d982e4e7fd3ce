"""Images with their targets: `loading.load` reads a source into `examples.Splits`."""
