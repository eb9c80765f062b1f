"""Which iris is it? A scikit-learn classifier with real requirements, trained in a moment when the model loads."""

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


class Model:
    def __init__(self):
        self._classifier = None
        self._names = None

    def load(self):
        iris = load_iris()
        self._names = iris.target_names
        self._classifier = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
        print(f"trained on {len(iris.data)} flowers")

    def predict(self, request):
        """Takes {"flowers": [[sepal length, sepal width, petal length, petal width], ...]}, all in centimetres."""
        probabilities = self._classifier.predict_proba(request["flowers"])
        return {
            "species": [str(self._names[row.argmax()]) for row in probabilities],
            "confidence": [round(float(row.max()), 3) for row in probabilities],
        }
