"""A recipe as a plain PyTorch script that imports nothing of halftime and reproduces the run."""
