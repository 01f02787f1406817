"""What a batch of people would give the pose model on one core: n pictures at once, against one by one.

    pip install onnx onnxruntime numpy
    python benchmarks/pose_batch.py [ROUNDS]

The model's head, which reads the joints of one person from the four maps, takes no second picture, so it is cut off:
what is compared is everything in front of it. Times are CPU time of one thread for each person; both ways take turns.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor

MODEL = Path(__file__).parent.parent / "models" / "movenet_lightning_192.onnx"
MAPS = [
    "StatefulPartitionedCall/Sigmoid:0",
    "StatefulPartitionedCall/Sigmoid_1:0",
    "StatefulPartitionedCall/kpt_regress_0/conv2d_6/BiasAdd_BiasAdd__111:0",
    "StatefulPartitionedCall/kpt_offset_0/conv2d_7/BiasAdd_BiasAdd__113:0",
]


def without_head() -> Any:
    model = Extractor(onnx.shape_inference.infer_shapes(onnx.load(MODEL))).extract_model(["input:0"], MAPS)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "people"
    # The shapes inside were inferred for one picture.
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        return onnxruntime.InferenceSession(file.name, options)


def cpu_time(session: Any, inputs: list[Any]) -> float:
    begin = time.process_time()
    for pictures in inputs:
        session.run(None, {"input:0": pictures})
    return time.process_time() - begin


def main(rounds: int) -> None:
    session = without_head()
    generator = np.random.default_rng(0)
    print("people  one by one ms  together ms  ratio")
    for people in (2, 4, 8, 16):
        pictures = generator.integers(0, 255, (people, 192, 192, 3)).astype(np.int32)
        single = [pictures[at : at + 1] for at in range(people)]
        apart, together = [], []
        for _ in range(rounds):
            apart.append(cpu_time(session, single) / people)
            together.append(cpu_time(session, [pictures]) / people)
        apart_ms, together_ms = statistics.median(apart) * 1e3, statistics.median(together) * 1e3
        print(f"{people:6}  {apart_ms:13.2f}  {together_ms:11.2f}  {together_ms / apart_ms:5.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
