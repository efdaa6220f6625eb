"""What is made of finished runs: files, plots, tables over seeds and runs, assignments of new images."""
