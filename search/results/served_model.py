"""What MLflow runs to serve an exported model: it executes this file when it loads the model.

The code that it imports comes with the model (`code_paths`), not from this project.
"""

from pathlib import Path
from typing import Any

import pandas
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from prediction.predictor import Predictor, open_predictor


class TitleModel(PythonModel):
    """A table with a column ``title`` to one with ``category`` and ``probability``."""

    _predictor: Predictor

    def load_context(self, context: Any) -> None:
        self._predictor = open_predictor(Path(context.artifacts["folder"]))

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> pandas.DataFrame:
        found = self._predictor.predict(model_input["title"].tolist())
        return pandas.DataFrame([best for best, *_ in found], columns=["category", "probability"])


set_model(TitleModel())
