"""Features made ready for classical models: n-grams, scaling, imputation, encodings (ai.onnx.ml, and TfIdfVectorizer)."""

OPERATORS = ()
