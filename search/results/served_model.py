"""What MLflow runs to serve an exported model: it executes this file when it loads the model.

The code that it imports comes with the model (`code_paths`), not from this project.
"""

from pathlib import Path
from typing import Any

import pandas
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc.model import PythonModel

from prediction.predictor import Predictor, open_predictor


class TitleModel(PythonModel):
    """A table with a column ``title`` to one with ``category`` and ``probability``.

    Its rows are those of the input, by their index too. MLflow calls it from many threads.
    """

    _predictor: Predictor

    def load_context(self, context: Any) -> None:
        self._predictor = open_predictor(Path(context.artifacts["folder"]))

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> pandas.DataFrame:
        # The signature leaves the column optional, as that is how MLflow spells "may be null".
        if "title" not in model_input:
            raise MlflowException("the input has no column 'title'", error_code=BAD_REQUEST)
        best = [best for best, *_ in self._predictor.predict(model_input["title"].tolist())]
        columns = ["category", "probability"]
        return pandas.DataFrame(best, index=model_input.index, columns=columns)


set_model(TitleModel())
