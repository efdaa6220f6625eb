"""Starting points that `imcswav new` copies: KIND.py a component, KIND_test.py its test, KIND.toml a recipe with it.

They are real code, read by the same tools as all other. ``mine`` and ``Mine`` become the new names.
"""
