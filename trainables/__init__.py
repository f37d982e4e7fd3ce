"""What is trained: pipelines, images, networks and the training loop, in pure PyTorch."""
