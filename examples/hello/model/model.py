"""The smallest model: no requirements, nothing to load."""


class Model:
    def predict(self, request):
        name = request.get("name", "world")
        return {"greeting": f"Hello, {name}!"}
