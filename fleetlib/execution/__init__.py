"""Running the notebooks headless: papermill, kernels, order, resume.

May import `clients.cloud`, `parameters`, `progress` and `errors`; nothing of the stages, which run in the kernels.
"""
