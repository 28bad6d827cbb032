"""Analysis of emergence: the validation from which on each variable is readable."""
