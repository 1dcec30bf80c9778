"""Running the notebooks headless: papermill, kernels, order, resume. The stages themselves run in the kernels."""
