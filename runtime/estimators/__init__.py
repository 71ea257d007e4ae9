"""Estimators of scikit-learn: fitting them, what they say of rows, and how they are stored."""
