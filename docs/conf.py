"""The documentation site: ``make docs`` builds it from these pages and the docstrings, without a network."""

import gc
import sys
from pathlib import Path

import arithprobe

gc.disable()  # what a build makes, it keeps: to look through it takes a fifth of the time

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "arithprobe"
author = "the arithprobe authors"
project_copyright = "the arithprobe authors, MIT licence"
version = release = arithprobe.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "areas"]
nitpicky = True  # a reference to a name of this library that is not documented is a warning, and so an error
nitpick_ignore_regex = [
    ("py:.*", r"(?!arithprobe\.).*"),  # other libraries' names have no page here
    ("py:class", r".*\.(OptionsT|ResultT)"),  # nor have type variables
]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of Lightning and PyTorch are theirs, in a markup of their own
autodoc_typehints = "description"  # signatures with names and defaults only; the types stand with the arguments
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "both"  # else the types of a class's arguments are left out
python_use_unqualified_type_names = True
maximum_signature_line_length = 100
toc_object_entries = False  # modules and public names are sections
napoleon_numpy_docstring = False

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"arithprobe {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "

linkcheck_timeout = 20
linkcheck_anchors = False
