"""The model in LitServe, batched over requests where a request holds one row. Arguments: model, kind, port."""

import sys

import litserve as ls
import mlflow.pyfunc
import pandas as pd

MODEL, KIND, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Served(ls.LitAPI):
    def setup(self, device):
        self.model = mlflow.pyfunc.load_model(MODEL, suppress_warnings=True)

    def decode_request(self, request):
        return request

    def batch(self, inputs):
        return inputs

    def predict(self, requests):
        if KIND == "iris":
            rows = [row for r in requests for row in r["dataframe_split"]["data"]]
            frame = pd.DataFrame(rows, columns=requests[0]["dataframe_split"]["columns"])
            counts = [len(r["dataframe_split"]["data"]) for r in requests]
        else:
            frame = pd.DataFrame({"text": [text for r in requests for text in r["inputs"]]})
            counts = [len(r["inputs"]) for r in requests]
        raw = self.model.predict(frame)
        values = raw.tolist() if hasattr(raw, "tolist") else list(raw)
        parts, at = [], 0
        for count in counts:
            parts.append(values[at : at + count])
            at += count
        return parts

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"predictions": output}


if __name__ == "__main__":
    api = Served(max_batch_size=64, batch_timeout=0.002)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=2, timeout=60)
    server.run(port=PORT, host="127.0.0.1", generate_client_file=False, log_level="warning", access_log=False)
