"""Interpretable controls from unlabelled images: each with a where and a what."""
