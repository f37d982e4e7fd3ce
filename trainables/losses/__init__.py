"""What a training minimises: the mean squared error, and VGG16's activations beside it."""
