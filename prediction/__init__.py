"""Raw titles to categories with an exported model.

An exported folder carries a copy of this package, of `models/` and of a part of `data_utils/`:
so nothing here may need more than torch, NumPy, safetensors and a stemmer.
"""
