"""Figures of scikit-learn that the unit tests of features.tf_idf and features.hash_text are held against.

    pip install scikit-learn && python tests/peers/text.py
"""

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

np.set_printoptions(linewidth=150, suppress=True, precision=9)
train = [
    "Great taste, great price!",
    "Not a great coffee: weak and stale",
    "The price of coffee is not great",
    "Weak tea, weak taste",
]
other = ["great weak TEA of no price", "unknown words only"]


def show(name, vectorizer):
    print(name, vectorizer.fit(train).get_feature_names_out().tolist())
    print(vectorizer.transform(other).toarray().tolist())
    print(vectorizer.transform(train[:1]).toarray().tolist())


show("defaults", TfidfVectorizer())
show("pairs, min_df 2", TfidfVectorizer(ngram_range=(1, 2), min_df=2))
show("sublinear, not smooth, l1, stop words", TfidfVectorizer(sublinear_tf=True, smooth_idf=False, norm="l1", stop_words=["the", "of", "is", "and"]))
show("char_wb, 5 terms", TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), max_features=5))
show("max_df 0.5", TfidfVectorizer(max_df=0.5, use_idf=False, norm=None))
hashing = HashingVectorizer(n_features=8, ngram_range=(1, 2))
print("hashed", hashing.transform([train[0], train[1], "?"]).toarray().tolist())
