"""How close outputs are to targets: cosine similarity, squared error, PSNR, SSIM; one file each."""
