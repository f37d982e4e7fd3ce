"""How close a network's outputs are to the pipeline's: scores and samples."""
