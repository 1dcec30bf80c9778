"""Builds the documentation site: `make docs`.

The source folder is the repository itself, so that a link between two files works on the site as it does in an editor or on a
Git host. Notebooks are shown with their stored outputs and are not executed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "Executable runbooks for fleets of AKS clusters"
author = "the contributors"
html_title = "AKS fleet runbooks"
html_short_title = html_title
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "notebooks/*.ipynb",
    "ci/README.md",
    "fleetlib/README.md",
    "azuresandbox/README.md",
    "workloads/README.md",
]
exclude_patterns = [".*", "runs", "docs/_build", "docs/_extensions", "tests", "tools", "benchmarks"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "diagrams", "docstrings", "front_page"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"sidebar_hide_name": False, "top_of_page_buttons": []}
pygments_style = "default"

nb_execution_mode = "off"
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"exclude-members": "model_config"}
add_module_names = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
# Signatures name types of other packages and of modules that this reference leaves out. Links in texts have no exceptions.
nitpick_ignore_regex = [("py:.*", ".*")]

linkcheck_anchors = False
linkcheck_timeout = 20
